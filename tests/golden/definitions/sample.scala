package x
/** Doc */
case class Foo(a: Int) extends Bar {
  val x = 1
  def run(y: Int): Int = y + 1
  private def p { }
}
object Foo { def make = Foo(1); val K = 2 }
trait T { def m: Int }
enum E { case A, B }
def top(x: Int) = 1
type Al = Int
given ord: Ord[Int] = ???
class Ind:
  def f = 1
extension (s: String) def ext = 1
