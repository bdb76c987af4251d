package pki

import (
	"context"
	"crypto"
)

// maxPool bounds the keys that lie ready.
const maxPool = 256

// KeyPool keeps keys ready, because making one takes from a tenth of a second to
// several. One goroutine makes them, one after the other, until the pool is full;
// each is given out once. It may be used by several goroutines.
type KeyPool struct {
	keys   chan crypto.Signer
	making context.Context // over when Close was called
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	err    error         // why it ended; written before done is closed
}

// NewKeyPool starts a pool of so many keys, at least one. [KeyPool.Close] ends it.
func NewKeyPool(t KeyType, size int) *KeyPool {
	size = min(max(size, 1), maxPool)
	p := &KeyPool{
		keys: make(chan crypto.Signer, size-1), // the last is in the goroutine's hands
		done: make(chan struct{}),
	}
	p.making, p.cancel = context.WithCancel(context.Background())
	go p.fill(t)
	return p
}

func (p *KeyPool) fill(t KeyType) {
	defer close(p.done)
	for p.making.Err() == nil {
		key, err := NewKey(t)
		if err != nil {
			p.err = err
			return
		}
		select {
		case p.keys <- key:
		case <-p.making.Done():
		}
	}
	p.err = &Problem{"the pool of keys is closed", "make the key without it"}
}

// Get takes a key out of the pool, or waits for the next. It fails with the context's
// error, or with a [*Problem] when the pool was closed or cannot make such keys.
func (p *KeyPool) Get(ctx context.Context) (crypto.Signer, error) {
	select {
	case <-p.done:
		return nil, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	default:
	}
	select {
	case key := <-p.keys:
		return key, nil
	case <-p.done:
		return nil, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the making of keys and waits for that, which takes as long as the key
// that is being made. The keys that lie ready are forgotten.
func (p *KeyPool) Close() {
	p.cancel()
	<-p.done
	for {
		select {
		case <-p.keys:
		default:
			return
		}
	}
}
