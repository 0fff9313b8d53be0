package main

import (
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const tick = time.Millisecond

// A system call that the scheduler knows of.
func declared(d time.Duration) {
	left := syscall.NsecToTimespec(int64(d))
	for syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

// One that it is not told of, as a C function or an assembly routine would make.
func undeclared(d time.Duration) {
	left := syscall.NsecToTimespec(int64(d))
	for {
		p := uintptr(unsafe.Pointer(&left))
		if _, _, e := syscall.RawSyscall(syscall.SYS_NANOSLEEP, p, p, 0); e != syscall.EINTR {
			return
		}
	}
}

// 64 goroutines make 50 calls of a millisecond each.
func calls(call func(time.Duration)) {
	var made int32
	var wg sync.WaitGroup
	for i := 0; i < 64; i++ {
		wg.Add(1)
		go func() {
			for k := 0; k < 50; k++ {
				call(tick)
				atomic.AddInt32(&made, 1)
			}
			wg.Done()
		}()
	}
	wg.Wait()
	check(made == 64*50)
}

var stop int32

func stopped() bool { return atomic.LoadInt32(&stop) != 0 }

// Computes and never calls the runtime.
func hog() {
	for !stopped() {
	}
}

func until(call func(time.Duration)) func() {
	return func() {
		for !stopped() {
			call(20 * time.Millisecond)
		}
	}
}

// How late each tick of a ticker was, in milliseconds, beside so many neighbours, and how many came within the
// time. Who stops it all needs a processor as well: the ticker looks at the clock too.
func ticker(many int, neighbour func(), duration time.Duration) (late []float64, inTime int) {
	atomic.StoreInt32(&stop, 0)
	end := time.Now().Add(duration)
	go func() { declared(duration); atomic.StoreInt32(&stop, 1) }()
	var wg sync.WaitGroup
	for i := 0; i < many; i++ {
		wg.Add(1)
		go func() { neighbour(); wg.Done() }()
	}
	for !stopped() {
		due := time.Now().Add(tick)
		time.Sleep(tick)
		late = append(late, float64(time.Since(due).Nanoseconds())/1e6)
		if time.Now().Before(end) {
			inTime++
		} else {
			atomic.StoreInt32(&stop, 1)
		}
	}
	wg.Wait()
	return late, inTime
}

func stall(duration time.Duration) {
	scenes := []struct {
		name      string
		many      int
		neighbour func()
	}{
		{"nobody else", 0, nil},
		{"one hog", 1, hog},
		{"300 hogs", 300, hog},
		{"four that block, undeclared", 4, until(undeclared)},
		{"four that block, declared", 4, until(declared)},
	}
	for _, s := range scenes {
		late, _ := ticker(s.many, s.neighbour, duration)
		draw(s.name, late)
	}
}

// Lateness by powers of two, as bars.
func draw(name string, late []float64) {
	var buckets [24]int
	worst, most := 0.0, 1
	for _, ms := range late {
		if ms > worst {
			worst = ms
		}
		b := bits.Len(uint(ms * 1e3))
		if b > 23 {
			b = 23
		}
		buckets[b]++
		if buckets[b] > most {
			most = buckets[b]
		}
	}
	fmt.Printf("\n%s: %d ticks, worst %.2f ms late\n", name, len(late), worst)
	for i, n := range buckets {
		if n > 0 {
			bar := strings.Repeat("#", (n*50+most-1)/most)
			fmt.Printf("  < %9.3f ms %6d %s\n", float64(uint(1)<<i)/1e3, n, bar)
		}
	}
}
