import X
/// Doc
@objc public class Foo: Bar {
    let a = 1
    var c: Int { return 1 }
    init(a: Int) { }
    deinit { }
    func run(_ x: Int) -> Int { return 1 }
    static func make() {}
    subscript(i: Int) -> Int { return 1 }
    class Inner {}
}
struct P { }
enum E { case a, b; func f() {} }
protocol Q { func m(); var v: Int { get }; init(x: Int) }
extension Foo { func ext() {} }
extension A.B where T: X { func ext() {} }
actor Act { func z() {} }
func top() {}
let TOP = 1
typealias Al = Int
func == (a: P, b: P) -> Bool { true }
indirect enum Tree<T> { case leaf }
