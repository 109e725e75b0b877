package pool

import "net"

const (
	// Idle is unused.
	Idle = iota
	Busy
)

// Pool keeps connections.
type Pool struct {
	idle []net.Conn
}

// Acquire returns a connection that is not in use.
func (p *Pool) Acquire() (net.Conn, error) {
	if len(p.idle) == 0 {
		return net.Dial("tcp", p.address)
	}
	last := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return last, nil
}

func (p *Pool) Release(c net.Conn) { p.idle = append(p.idle, c) }
