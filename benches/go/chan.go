package main

import (
	"sort"
	"sync"
	"time"
)

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

// How long a send takes: eight goroutines send to one that receives, through a channel of 512.
func sendLatency() []float64 {
	const producers, each = 8, 50000
	c := make(chan int, 512)
	took := make([]float64, producers*each)
	var wg sync.WaitGroup
	for p := 0; p < producers; p++ {
		wg.Add(1)
		go func(p int) {
			for x := p * each; x < (p+1)*each; x++ {
				s := time.Now()
				c <- x
				took[x] = float64(time.Since(s).Nanoseconds())
			}
			wg.Done()
		}(p)
	}
	go func() { wg.Wait(); close(c) }()
	sum := 0
	for x := range c {
		sum += x
	}
	check(sum == len(took)*(len(took)-1)/2)
	sort.Float64s(took)
	return took
}

func channels(workload string) bool {
	switch workload {
	case "go_ping_pong_0":
		timed(roundTrips, pingPong)
	case "go_spsc_0":
		timed(roundTrips, spsc)
	case "go_select4_0":
		timed(roundTrips, select4)
	case "send_latency_p50":
		sendLatency()
		for i := 0; i < samples; i++ {
			took := sendLatency()
			curve("send_latency_p50", took)
			figure("send_latency_p50", took[len(took)/2])
			figure("send_latency_p99", took[len(took)*99/100])
		}
	default:
		return false
	}
	return true
}
