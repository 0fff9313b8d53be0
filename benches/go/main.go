// The workloads in Go, printed as bench-runner prints them: GROUP WORKLOAD SUBJECT --procs N --samples K;
// and the demonstration of stalls: stall --procs N --seconds S.
// Written so that Go 1.19 compiles it too.
package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const million, roundTrips = 1000000, 300000

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

// How the events behind a figure are spread, sorted ascending: the report draws its curve.
func curve(workload string, sorted []float64) {
	fractions := []float64{0, .1, .25, .5, .75, .9, .95, .975, .99, .995, .999, .9995, .9999, .99995, .99999, .999999}
	last := 1 - 1/float64(len(sorted))
	points := ""
	for _, f := range append(fractions, last) {
		if f > last {
			continue
		}
		rank := int(math.Ceil(f * float64(len(sorted))))
		if rank < 1 {
			rank = 1
		}
		points += fmt.Sprintf("[%g,%g],", f, sorted[rank-1])
	}
	// The largest fraction is the last: those above it were left out.
	fmt.Printf("{\"workload\":%q,\"curve\":[%s]}\n", workload, strings.TrimSuffix(points, ","))
}

// The first run is not measured, as in bench-runner.
func repeat(f func() float64) {
	f()
	for i := 0; i < samples; i++ {
		once(f())
	}
}

// For workloads of seconds, that start from nothing and verify as they go.
func unwarmed(f func() float64) {
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

func resident() float64 {
	b, err := os.ReadFile("/proc/self/statm")
	check(err == nil)
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	check(err == nil)
	return float64(pages) * 4096
}

func main() {
	if len(os.Args) == 6 && os.Args[1] == "stall" {
		procs, err := strconv.Atoi(os.Args[3])
		check(err == nil)
		seconds, err := strconv.Atoi(os.Args[5])
		check(err == nil)
		runtime.GOMAXPROCS(procs)
		stall(time.Duration(seconds) * time.Second)
		return
	}
	if len(os.Args) != 8 {
		fmt.Fprintln(os.Stderr, "GROUP WORKLOAD SUBJECT --procs N --samples K | stall --procs N --seconds S")
		os.Exit(2)
	}
	procs, err := strconv.Atoi(os.Args[5])
	check(err == nil)
	samples, err = strconv.Atoi(os.Args[7])
	check(err == nil)
	runtime.GOMAXPROCS(procs)
	known := map[string]func(string) bool{"sched": sched, "chan": channels, "map": maps, "pool": pools, "timer": timers, "itab": itabs}
	if group := known[os.Args[1]]; group == nil || !group(os.Args[2]) {
		fmt.Fprintln(os.Stderr, "no such workload")
		os.Exit(2)
	}
}
