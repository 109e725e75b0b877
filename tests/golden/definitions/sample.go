package x

// Pi is pi.
const Pi = 3
const (
	A = iota
	B
)
var V, W = 1, 2
var (
	X = 1
)
// T does.
type T struct { a int }
type I interface { M() }
type ID int
type (
	P struct{}
	Q = P
)
// M runs.
func (t *T) M(a int) error { return nil }
func (s Stack[E]) Push(e E) {}
func F[T any](a T) T { return a }
