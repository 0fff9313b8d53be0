package main

import "time"

type t0 struct{ n int }

func (t *t0) Get() int { return t.n + 0 }

type t1 struct{ n int }

func (t *t1) Get() int { return t.n + 1 }

type t2 struct{ n int }

func (t *t2) Get() int { return t.n + 2 }

type t3 struct{ n int }

func (t *t3) Get() int { return t.n + 3 }

type t4 struct{ n int }

func (t *t4) Get() int { return t.n + 4 }

type t5 struct{ n int }

func (t *t5) Get() int { return t.n + 5 }

type t6 struct{ n int }

func (t *t6) Get() int { return t.n + 6 }

type t7 struct{ n int }

func (t *t7) Get() int { return t.n + 7 }

type get interface{ Get() int }
type absent interface {
	Get() int
	Set()
}

func itabValue(i, types int) interface{} {
	switch i % types {
	case 0:
		return &t0{i}
	case 1:
		return &t1{i}
	case 2:
		return &t2{i}
	case 3:
		return &t3{i}
	case 4:
		return &t4{i}
	case 5:
		return &t5{i}
	case 6:
		return &t6{i}
	}
	return &t7{i}
}

func over(types, sum int, f func(vs []interface{}) int) {
	const values, rounds = 1024, 5000
	vs := make([]interface{}, values)
	for i := range vs {
		vs[i] = itabValue(i, types)
	}
	timed(values*rounds, func() {
		got := 0
		for r := 0; r < rounds; r++ {
			got += f(vs)
		}
		check(got == sum*rounds)
	})
}

func hitItab(vs []interface{}) int {
	n := 0
	for _, v := range vs {
		if _, ok := v.(get); ok {
			n++
		}
	}
	return n
}

func itabs(workload string) bool {
	switch workload {
	case "hit_1":
		over(1, 1024, hitItab)
	case "hit_8":
		over(8, 1024, hitItab)
	case "miss_8":
		over(8, 0, func(vs []interface{}) int {
			n := 0
			for _, v := range vs {
				if _, ok := v.(absent); ok {
					n++
				}
			}
			return n
		})
	case "assert_type":
		over(8, 1024/8, func(vs []interface{}) int {
			n := 0
			for _, v := range vs {
				if _, ok := v.(*t0); ok {
					n++
				}
			}
			return n
		})
	case "switch_8":
		over(8, 1024*36/8, func(vs []interface{}) int {
			sum := 0
			for _, v := range vs {
				switch v.(type) {
				case *t0:
					sum += 1
				case *t1:
					sum += 2
				case *t2:
					sum += 3
				case *t3:
					sum += 4
				case *t4:
					sum += 5
				case *t5:
					sum += 6
				case *t6:
					sum += 7
				case *t7:
					sum += 8
				}
			}
			return sum
		})
	case "cold_build":
		vs := bigs()
		s := time.Now()
		n := askBigs(vs)
		ns := each(s, 1024)
		check(n == 1024)
		once(ns)
	default:
		return false
	}
	return true
}
