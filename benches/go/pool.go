package main

import (
	"sync"
	"time"
)

const pairCount, burstSize, bursts = 2000000, 10000, 50

func newItems() *sync.Pool {
	return &sync.Pool{New: func() interface{} {
		item := new([256]byte)
		for i := range item {
			item[i] = 1
		}
		return item
	}}
}

// Goroutines for threads: with GOMAXPROCS as many processors as the machine has.
func pairs(threads int) {
	pool := newItems()
	mine := pairCount / threads
	repeat(func() float64 {
		var ready, done sync.WaitGroup
		ready.Add(threads)
		done.Add(threads)
		began := make([]time.Time, threads)
		ended := make([]time.Time, threads)
		gate := make(chan bool)
		for t := 0; t < threads; t++ {
			t := t
			go func() {
				pool.Put(pool.New())
				ready.Done()
				<-gate
				began[t] = time.Now()
				for i := 0; i < mine; i++ {
					item := pool.Get().(*[256]byte)
					check(item[0] == 1)
					item[1]++
					pool.Put(item)
				}
				ended[t] = time.Now()
				done.Done()
			}()
		}
		ready.Wait()
		close(gate)
		done.Wait()
		first, last := began[0], ended[0]
		for t := range began {
			if began[t].Before(first) {
				first = began[t]
			}
			if ended[t].After(last) {
				last = ended[t]
			}
		}
		return float64(last.Sub(first).Nanoseconds()) / float64(mine*threads)
	})
}

func burst() {
	pool := newItems()
	held := make([]*[256]byte, 0, burstSize)
	timed(burstSize*bursts, func() {
		for b := 0; b < bursts; b++ {
			for i := 0; i < burstSize; i++ {
				held = append(held, pool.Get().(*[256]byte))
			}
			for _, item := range held {
				check(item[0] == 1)
				pool.Put(item)
			}
			held = held[:0]
		}
	})
}

func pools(workload string) bool {
	switch workload {
	case "pair_1t":
		pairs(1)
	case "pair_2t":
		pairs(2)
	case "pair_8t":
		pairs(8)
	case "burst_10k":
		burst()
	default:
		return false
	}
	return true
}
