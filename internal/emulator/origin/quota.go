package origin

import (
	"sync"
	"time"
)

// Quota counts requests, and says when there were too many. It may be used from
// several goroutines.
type Quota struct {
	Most int           // requests of a pool in each span of time; no limit when 0 or less
	Per  time.Duration // the span, which begins with the first request in it

	mu    sync.Mutex // guards what follows
	from  time.Time  // of the present span
	taken map[string]int
}

// mostPools is how many pools a Quota keeps apart; what comes beyond shares one.
const mostPools = 1000

// Take counts a request of a pool. When there were too many it reports false,
// and how long to wait.
func (q *Quota) Take(pool string, now time.Time) (ok bool, wait time.Duration) {
	if q.Most <= 0 {
		return true, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if since := now.Sub(q.from); q.taken == nil || since >= q.Per || since < 0 {
		q.from, q.taken = now, map[string]int{}
	}
	if _, known := q.taken[pool]; !known && len(q.taken) >= mostPools {
		pool = ""
	}
	q.taken[pool]++
	return q.taken[pool] <= q.Most, q.from.Add(q.Per).Sub(now)
}
