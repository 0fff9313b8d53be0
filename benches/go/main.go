// The workloads in Go, printed as bench-runner prints them: GROUP WORKLOAD SUBJECT --procs N --samples K.
// Written so that Go 1.19 compiles it too.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const million, ringLen, roundTrips, parked = 1000000, 10000, 300000, 100000

var samples int

func check(ok bool) {
	if !ok {
		panic("wrong answer")
	}
}

func once(v float64) { fmt.Printf("{\"value\":%g,\"version\":%q}\n", v, runtime.Version()) }

func figure(workload string, v float64) {
	fmt.Printf("{\"workload\":%q,\"value\":%g,\"version\":%q}\n", workload, v, runtime.Version())
}

// The first run is not measured, as in bench-runner.
func repeat(f func() float64) {
	f()
	for i := 0; i < samples; i++ {
		once(f())
	}
}

func timed(n int, f func()) {
	repeat(func() float64 {
		s := time.Now()
		f()
		return float64(time.Since(s).Nanoseconds()) / float64(n)
	})
}

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

func pingPong() {
	a, b := make(chan int), make(chan int)
	go func() {
		for x := range a {
			b <- x
		}
	}()
	for i := 0; i < roundTrips; i++ {
		a <- i
		check(<-b == i)
	}
	close(a)
}

func select4() {
	var c [4]chan int
	for i := range c {
		c[i] = make(chan int)
		go func(i int) {
			for x := i; x < roundTrips; x += 4 {
				c[i] <- x
			}
		}(i)
	}
	sum := 0
	for i := 0; i < roundTrips; i++ {
		select {
		case x := <-c[0]:
			sum += x
		case x := <-c[1]:
			sum += x
		case x := <-c[2]:
			sum += x
		case x := <-c[3]:
			sum += x
		}
	}
	check(sum == roundTrips*(roundTrips-1)/2)
}

func spsc() {
	a := make(chan int)
	go func() {
		for i := 0; i < roundTrips; i++ {
			a <- i
		}
		close(a)
	}()
	sum := 0
	for x := range a {
		sum += x
	}
	check(sum == roundTrips*(roundTrips-1)/2)
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

func skynet() {
	c := make(chan int, 1)
	go node(c, 0, million)
	check(<-c == million*(million-1)/2)
}

func blocking() {
	var wg sync.WaitGroup
	for i := 0; i < 64; i++ {
		wg.Add(1)
		go func() {
			for k := 0; k < 50; k++ {
				ts := syscall.NsecToTimespec(int64(time.Millisecond))
				syscall.Nanosleep(&ts, nil)
			}
			wg.Done()
		}()
	}
	wg.Wait()
}

func hogTicker() float64 {
	var stop int32
	go func() { time.Sleep(time.Second); atomic.StoreInt32(&stop, 1) }()
	done := make(chan bool)
	go func() {
		for atomic.LoadInt32(&stop) == 0 {
		}
		done <- true
	}()
	worst := time.Duration(0)
	for atomic.LoadInt32(&stop) == 0 {
		s := time.Now()
		time.Sleep(time.Millisecond)
		if late := time.Since(s) - time.Millisecond; late > worst {
			worst = late
		}
	}
	<-done
	return float64(worst.Nanoseconds()) / 1e6
}

func resident() float64 {
	b, err := os.ReadFile("/proc/self/statm")
	check(err == nil)
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	check(err == nil)
	return float64(pages) * 4096
}

func rss() float64 {
	gate := make(chan int)
	var wg sync.WaitGroup
	var started int32
	before := resident()
	for i := 0; i < parked; i++ {
		wg.Add(1)
		go func() { atomic.AddInt32(&started, 1); <-gate; wg.Done() }()
	}
	for atomic.LoadInt32(&started) < parked {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	grown := resident() - before
	close(gate)
	wg.Wait()
	return grown / parked
}

func main() {
	procs, err := strconv.Atoi(os.Args[5])
	check(err == nil)
	samples, err = strconv.Atoi(os.Args[7])
	check(err == nil)
	runtime.GOMAXPROCS(procs)
	known := map[string]func(string) bool{"sched": sched, "chan": chans, "map": maps, "pool": pools, "timer": timers}
	if group := known[os.Args[1]]; group == nil || !group(os.Args[2]) {
		fmt.Fprintln(os.Stderr, "no such workload")
		os.Exit(2)
	}
}

func chans(workload string) bool {
	switch workload {
	case "go_ping_pong_0":
		timed(roundTrips, pingPong)
	case "go_spsc_0":
		timed(roundTrips, spsc)
	case "go_select4_0":
		timed(roundTrips, select4)
	default:
		return false
	}
	return true
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
	case "blocking_declared":
		timed(million, blocking)
	case "hog_ticker_worst":
		repeat(hogTicker)
	case "rss_stackful":
		once(rss())
	default:
		return false
	}
	return true
}
