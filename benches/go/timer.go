package main

import (
	"runtime"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const timerOps = 300000

type rng uint64

func (r *rng) below(n uint64) uint64 {
	x := uint64(*r)
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = rng(x)
	return x % n
}

func (r *rng) deadline() time.Duration {
	return time.Second + time.Duration(r.below(60000000000))
}

func liveTimers(n int, r *rng) []*time.Timer {
	live := make([]*time.Timer, n)
	for i := range live {
		live[i] = time.AfterFunc(r.deadline(), func() {})
	}
	return live
}

func addStop(live int) {
	r := rng(0x9e3779b97f4a7c15)
	others := liveTimers(live, &r)
	timed(timerOps, func() {
		for i := 0; i < timerOps; i++ {
			check(time.AfterFunc(r.deadline(), func() {}).Stop())
		}
	})
	runtime.KeepAlive(others)
}

func reset(live int) {
	r := rng(0x9e3779b97f4a7c15)
	others := liveTimers(live, &r)
	timed(timerOps, func() {
		for i := 0; i < timerOps; i++ {
			check(others[r.below(uint64(live))].Reset(r.deadline()))
		}
	})
}

func cpu() float64 {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil)
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

// Each is run in a goroutine of its own, as time.AfterFunc does.
func due(n int, lead time.Duration) []float64 {
	r := rng(0x9e3779b97f4a7c15)
	late := make([]float64, n)
	var fired int32
	first := time.Now().Add(lead)
	for i := range late {
		i, due := i, first.Add(time.Duration(r.below(1000000000)))
		time.AfterFunc(time.Until(due), func() {
			late[i] = float64(time.Since(due).Nanoseconds()) / 1e3
			atomic.AddInt32(&fired, 1)
		})
	}
	for int(atomic.LoadInt32(&fired)) < n {
		time.Sleep(20 * time.Millisecond)
	}
	sort.Float64s(late)
	check(late[0] > 0)
	return late
}

func timers(workload string) bool {
	sizes := map[string]int{"0": 0, "1e3": 1000, "1e5": 100000, "1e6": 1000000}
	if n, ok := sizes[strings.TrimPrefix(workload, "add_stop_")]; ok {
		addStop(n)
		return true
	}
	if n, ok := sizes[strings.TrimPrefix(workload, "reset_")]; ok && n > 0 {
		reset(n)
		return true
	}
	switch workload {
	case "fire_1e6_p50":
		before := cpu()
		late := due(million, 1500*time.Millisecond)
		curve("fire_1e6_p50", late)
		figure("fire_1e6_p50", late[million/2])
		figure("fire_1e6_max", late[million-1])
		figure("fire_1e6_cpu", (cpu()-before)/million)
	case "idle_10k_p50":
		late := due(10000, 100*time.Millisecond)
		curve("idle_10k_p50", late)
		figure("idle_10k_p50", late[5000])
		figure("idle_10k_p99", late[9900])
	default:
		return false
	}
	return true
}
