package main

import (
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

func key(n uint64) uint64 {
	x := n + 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

func shuffled(n int) []uint64 {
	order := make([]uint64, n)
	for i := range order {
		order[i] = uint64(i)
	}
	for i := n - 1; i > 0; i-- {
		j := key(uint64(i)) % uint64(i+1)
		order[i], order[j] = order[j], order[i]
	}
	return order
}

func filled(n int) map[uint64]uint64 {
	m := make(map[uint64]uint64)
	for i := uint64(0); i < uint64(n); i++ {
		m[key(i)] = i
	}
	return m
}

func operations(n int) int {
	if n < 2000000 {
		return 2000000
	}
	if n > 4000000 {
		return 4000000
	}
	return n
}

func each(s time.Time, n int) float64 { return float64(time.Since(s).Nanoseconds()) / float64(n) }

func insertMax(n int) float64 {
	m := make(map[uint64]uint64)
	longest := time.Duration(0)
	for i := uint64(0); i < uint64(n); i++ {
		k := key(i)
		s := time.Now()
		m[k] = i
		if d := time.Since(s); d > longest {
			longest = d
		}
	}
	check(m[key(uint64(n/2))] == uint64(n/2))
	return float64(longest.Nanoseconds())
}

// Over one map for one sample, as in the Rust program.
const passesEach = 3

func passes(pass func() float64) {
	pass()
	unwarmed(func() float64 {
		took := make([]float64, passesEach)
		for i := range took {
			took[i] = pass()
		}
		sort.Float64s(took)
		return took[passesEach/2]
	})
}

func dependent(n int) {
	order := shuffled(n)
	m := make(map[uint64]uint64)
	for i, o := range order {
		m[key(o)] = order[(i+1)%n]
	}
	const total = million
	passes(func() float64 {
		s := time.Now()
		at := order[0]
		for i := 0; i < total; i++ {
			at = m[key(at)]
		}
		ns := each(s, total)
		check(at == order[total%n])
		return ns
	})
}

func hit(n int) {
	m := filled(n)
	order := shuffled(n)
	keys := make([]uint64, n)
	for i, o := range order {
		keys[i] = key(o)
	}
	total := operations(n)
	want := uint64(0)
	for i := 0; i < total; i++ {
		want += order[i%n]
	}
	passes(func() float64 {
		sum := uint64(0)
		s := time.Now()
		for left := total; left > 0; {
			take := left
			if take > n {
				take = n
			}
			for _, k := range keys[:take] {
				sum += m[k]
			}
			left -= take
		}
		ns := each(s, total)
		check(sum == want)
		return ns
	})
}

func miss(n int) {
	m := filled(n)
	absent := make([]uint64, n)
	for i := range absent {
		absent[i] = key(uint64(i) + 1<<40)
	}
	total := operations(n)
	passes(func() float64 {
		found := 0
		s := time.Now()
		for left := total; left > 0; {
			take := left
			if take > n {
				take = n
			}
			for _, k := range absent[:take] {
				if _, ok := m[k]; ok {
					found++
				}
			}
			left -= take
		}
		ns := each(s, total)
		check(found == 0)
		return ns
	})
}

func grow(n int) float64 {
	rounds := million / n
	if rounds < 1 {
		rounds = 1
	}
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = key(uint64(i))
	}
	spent := 0.0
	for r := 0; r < rounds; r++ {
		s := time.Now()
		m := make(map[uint64]uint64)
		for i, k := range keys {
			m[k] = uint64(i)
		}
		spent += each(s, n)
		check(m[keys[n-1]] == uint64(n-1))
	}
	return spent / float64(rounds)
}

func churn(n int) {
	m := filled(n)
	total := operations(n)
	if total > n {
		total = n
	}
	oldest := 0
	repeat(func() float64 {
		keys := make([]uint64, total+n)
		for i := range keys {
			keys[i] = key(uint64(oldest + i))
		}
		s := time.Now()
		for i := 0; i < total; i++ {
			v, ok := m[keys[i]]
			check(ok && v == uint64(oldest+i))
			delete(m, keys[i])
			m[keys[i+n]] = uint64(oldest + i + n)
		}
		ns := each(s, total)
		oldest += total
		return ns
	})
}

func iterate(n int) {
	m := filled(n)
	want := uint64(0)
	for i := uint64(0); i < uint64(n); i++ {
		want += key(i) ^ i
	}
	passes(func() float64 {
		s := time.Now()
		sum := uint64(0)
		for k, v := range m {
			sum += k ^ v
		}
		check(sum == want)
		return each(s, n)
	})
}

func peak() float64 {
	b, err := os.ReadFile("/proc/self/status")
	check(err == nil)
	s := string(b)
	s = s[strings.Index(s, "VmHWM:")+6:]
	kib, err := strconv.Atoi(strings.Fields(s)[0])
	check(err == nil)
	return float64(kib) * 1024
}

// What the collector has not yet taken back is counted.
func bytesPerEntry() {
	m := make(map[uint64]uint64)
	before := resident()
	best, worst := 1e9, 0.0
	n := uint64(0)
	for next := uint64(500000); n < 4000000; next += next / 50 {
		for ; n < next; n++ {
			m[key(n)] = n
		}
		if b := (resident() - before) / float64(n); b < best {
			best = b
		}
		if b := (peak() - before) / float64(n); b > worst {
			worst = b
		}
	}
	check(uint64(len(m)) == n)
	figure("bytes_per_entry_best", best)
	figure("bytes_per_entry_worst", worst)
}

func maps(workload string) bool {
	switch workload {
	case "insert_max_1e5":
		repeat(func() float64 { return insertMax(100000) })
	case "insert_max_1e7":
		unwarmed(func() float64 { return insertMax(10000000) })
	case "dep_hit_1e7":
		dependent(10000000)
	case "hit_1e5":
		hit(100000)
	case "hit_1e7":
		hit(10000000)
	case "grow_1e5":
		repeat(func() float64 { return grow(100000) })
	case "grow_1e7":
		unwarmed(func() float64 { return grow(10000000) })
	case "churn_1e7":
		churn(10000000)
	case "miss_1e3":
		miss(1000)
	case "miss_1e7":
		miss(10000000)
	case "iterate_1e7":
		iterate(10000000)
	case "bytes_per_entry_best":
		bytesPerEntry()
	default:
		return false
	}
	return true
}
