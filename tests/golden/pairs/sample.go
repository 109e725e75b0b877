// Copyright 2020 Somebody. All rights reserved.

// Package pool keeps connections open between requests.
package pool

// ConnPool holds idle connections to one host.
//
// It is safe for concurrent use.
type ConnPool struct {
	idle []Conn
	size int
}

// Put gives a connection back to the pool, or closes it if the pool is full.
func (p *ConnPool) PutBack(c Conn) error {
	// a full pool has no room for it
	if len(p.idle) >= p.size {
		return c.Close()
	}

	p.idle = append(p.idle, c)
	return nil
}
