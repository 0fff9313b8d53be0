package main

import (
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const ringLen = 10000

func spawn(n int) {
	var wg sync.WaitGroup
	results := make([]int, n)
	wg.Add(n)
	for i := 0; i < n; i++ {
		i := i
		go func() { results[i] = i; wg.Done() }()
	}
	wg.Wait()
	sum := 0
	for _, x := range results {
		sum += x
	}
	check(sum == n*(n-1)/2)
}

func yields() {
	done := make(chan bool)
	go func() {
		for i := 0; i < million; i++ {
			runtime.Gosched()
		}
		done <- true
	}()
	for i := 0; i < million; i++ {
		runtime.Gosched()
	}
	check(<-done)
}

func ring() {
	first := make(chan int)
	last := first
	for i := 1; i < ringLen; i++ {
		c := make(chan int)
		go func(in, out chan int) {
			for x := range in {
				out <- x + 1
			}
			close(out)
		}(last, c)
		last = c
	}
	v := 0
	for i := 0; i < million/ringLen; i++ {
		first <- v
		v = <-last + 1
	}
	check(v == million)
	close(first)
}

func node(up chan int, num, size int) {
	if size == 1 {
		up <- num
		return
	}
	c := make(chan int, 10)
	size /= 10
	for i := 0; i < 10; i++ {
		go node(c, num+i*size, size)
	}
	s := 0
	for i := 0; i < 10; i++ {
		s += <-c
	}
	up <- s
}

// 100,000 goroutines sleep for 10 ms and give their number.
func sleepers() {
	const n = 100000
	got := make([]int, n)
	var wg sync.WaitGroup
	wg.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) { time.Sleep(10 * time.Millisecond); got[i] = i; wg.Done() }(i)
	}
	wg.Wait()
	sum := 0
	for _, v := range got {
		sum += v
	}
	check(sum == n*(n-1)/2)
}

func skynet() {
	c := make(chan int, 1)
	go node(c, 0, million)
	check(<-c == million*(million-1)/2)
}

func rss() float64 {
	gate := make(chan int)
	var wg sync.WaitGroup
	var started int32
	before := resident()
	for i := 0; i < million; i++ {
		wg.Add(1)
		go func() { atomic.AddInt32(&started, 1); <-gate; wg.Done() }()
	}
	for atomic.LoadInt32(&started) < million {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	grown := resident() - before
	close(gate)
	wg.Wait()
	return grown / million
}

// 100 goroutines lock one mutex 10,000 times each and add one.
func mutex() {
	const lockers, locks = 100, 10000
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := 0
	for i := 0; i < lockers; i++ {
		wg.Add(1)
		go func() {
			for k := 0; k < locks; k++ {
				mu.Lock()
				total++
				mu.Unlock()
			}
			wg.Done()
		}()
	}
	wg.Wait()
	check(total == lockers*locks)
}

func sched(workload string) bool {
	switch workload {
	case "spawn_all":
		timed(million, func() { spawn(million) })
	case "spawn_batch":
		timed(500000, func() {
			for k := 0; k < 5000; k++ {
				spawn(100)
			}
		})
	case "yield":
		timed(2*million, yields)
	case "ping_pong":
		timed(roundTrips, pingPong)
	case "ring":
		timed(million, ring)
	case "skynet":
		timed(million, skynet)
	case "sleepers":
		timed(million, sleepers)
	case "blocking_declared":
		timed(million, func() { calls(declared) })
	case "blocking_undeclared":
		timed(million, func() { calls(undeclared) })
	case "hog_ticker_worst":
		for i := 0; i < samples; i++ {
			late, _ := ticker(1, hog, time.Second)
			sort.Float64s(late)
			curve("hog_ticker_worst", late)
			once(late[len(late)-1])
		}
	case "hogs_300_ticks":
		for i := 0; i < samples; i++ {
			_, ticks := ticker(300, hog, 3*time.Second)
			once(float64(ticks))
		}
	case "mutex":
		timed(million, mutex)
	case "rss_stackful":
		once(rss())
	default:
		return false
	}
	return true
}
