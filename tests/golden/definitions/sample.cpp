#include <x>
namespace ns { namespace inner {
template <typename T>
class Foo : public Bar {
 public:
  Foo() : a(1) {}
  ~Foo();
  int get() const { return a; }
  virtual void run() = 0;
  Foo& operator=(const Foo& o) { return *this; }
 private:
  int a;
};
struct S { int x; void m(); };
enum class E { A };
using Id = int;
}}
void ns::inner::S::m() { }
template <typename T> T id(T x) { return x; }
int& ref(int& x) { return x; }
ns::S::~S() {}
bool operator==(const S& a, const S& b) { return true; }
namespace a::b { void deep(); }
static const int kMax = 3;
extern "C" { void cfun(void) {} }
