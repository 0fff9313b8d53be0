package main

// 64 types of 24 methods, and 16 interfaces that ask for 8 of them.

type big struct{ n int }

func (b *big) A00() int { return b.n }
func (b *big) A01() int { return b.n }
func (b *big) A02() int { return b.n }
func (b *big) A03() int { return b.n }
func (b *big) A04() int { return b.n }
func (b *big) A05() int { return b.n }
func (b *big) A06() int { return b.n }
func (b *big) A07() int { return b.n }
func (b *big) A08() int { return b.n }
func (b *big) A09() int { return b.n }
func (b *big) A10() int { return b.n }
func (b *big) A11() int { return b.n }
func (b *big) A12() int { return b.n }
func (b *big) A13() int { return b.n }
func (b *big) A14() int { return b.n }
func (b *big) A15() int { return b.n }
func (b *big) A16() int { return b.n }
func (b *big) A17() int { return b.n }
func (b *big) A18() int { return b.n }
func (b *big) A19() int { return b.n }
func (b *big) A20() int { return b.n }
func (b *big) A21() int { return b.n }
func (b *big) A22() int { return b.n }
func (b *big) A23() int { return b.n }

type b0 struct{ big }
type b1 struct{ big }
type b2 struct{ big }
type b3 struct{ big }
type b4 struct{ big }
type b5 struct{ big }
type b6 struct{ big }
type b7 struct{ big }
type b8 struct{ big }
type b9 struct{ big }
type b10 struct{ big }
type b11 struct{ big }
type b12 struct{ big }
type b13 struct{ big }
type b14 struct{ big }
type b15 struct{ big }
type b16 struct{ big }
type b17 struct{ big }
type b18 struct{ big }
type b19 struct{ big }
type b20 struct{ big }
type b21 struct{ big }
type b22 struct{ big }
type b23 struct{ big }
type b24 struct{ big }
type b25 struct{ big }
type b26 struct{ big }
type b27 struct{ big }
type b28 struct{ big }
type b29 struct{ big }
type b30 struct{ big }
type b31 struct{ big }
type b32 struct{ big }
type b33 struct{ big }
type b34 struct{ big }
type b35 struct{ big }
type b36 struct{ big }
type b37 struct{ big }
type b38 struct{ big }
type b39 struct{ big }
type b40 struct{ big }
type b41 struct{ big }
type b42 struct{ big }
type b43 struct{ big }
type b44 struct{ big }
type b45 struct{ big }
type b46 struct{ big }
type b47 struct{ big }
type b48 struct{ big }
type b49 struct{ big }
type b50 struct{ big }
type b51 struct{ big }
type b52 struct{ big }
type b53 struct{ big }
type b54 struct{ big }
type b55 struct{ big }
type b56 struct{ big }
type b57 struct{ big }
type b58 struct{ big }
type b59 struct{ big }
type b60 struct{ big }
type b61 struct{ big }
type b62 struct{ big }
type b63 struct{ big }

type i0 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i1 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i2 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i3 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i4 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i5 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i6 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i7 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i8 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i9 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i10 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i11 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i12 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i13 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i14 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}
type i15 interface {
	A01() int
	A04() int
	A07() int
	A10() int
	A13() int
	A16() int
	A19() int
	A22() int
}

func bigs() []interface{} {
	return []interface{}{
		&b0{big{0}},
		&b1{big{1}},
		&b2{big{2}},
		&b3{big{3}},
		&b4{big{4}},
		&b5{big{5}},
		&b6{big{6}},
		&b7{big{7}},
		&b8{big{8}},
		&b9{big{9}},
		&b10{big{10}},
		&b11{big{11}},
		&b12{big{12}},
		&b13{big{13}},
		&b14{big{14}},
		&b15{big{15}},
		&b16{big{16}},
		&b17{big{17}},
		&b18{big{18}},
		&b19{big{19}},
		&b20{big{20}},
		&b21{big{21}},
		&b22{big{22}},
		&b23{big{23}},
		&b24{big{24}},
		&b25{big{25}},
		&b26{big{26}},
		&b27{big{27}},
		&b28{big{28}},
		&b29{big{29}},
		&b30{big{30}},
		&b31{big{31}},
		&b32{big{32}},
		&b33{big{33}},
		&b34{big{34}},
		&b35{big{35}},
		&b36{big{36}},
		&b37{big{37}},
		&b38{big{38}},
		&b39{big{39}},
		&b40{big{40}},
		&b41{big{41}},
		&b42{big{42}},
		&b43{big{43}},
		&b44{big{44}},
		&b45{big{45}},
		&b46{big{46}},
		&b47{big{47}},
		&b48{big{48}},
		&b49{big{49}},
		&b50{big{50}},
		&b51{big{51}},
		&b52{big{52}},
		&b53{big{53}},
		&b54{big{54}},
		&b55{big{55}},
		&b56{big{56}},
		&b57{big{57}},
		&b58{big{58}},
		&b59{big{59}},
		&b60{big{60}},
		&b61{big{61}},
		&b62{big{62}},
		&b63{big{63}},
	}
}

func askBigs(vs []interface{}) int {
	n := 0
	for _, v := range vs {
		if _, ok := v.(i0); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i1); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i2); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i3); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i4); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i5); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i6); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i7); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i8); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i9); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i10); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i11); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i12); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i13); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i14); ok {
			n++
		}
	}
	for _, v := range vs {
		if _, ok := v.(i15); ok {
			n++
		}
	}
	return n
}
