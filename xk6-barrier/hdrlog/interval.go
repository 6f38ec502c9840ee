package hdrlog

import (
	"math"
	"slices"

	"go.k6.io/k6/v2/metrics"
)

// cell is what one series had in one interval.
type cell struct {
	series *series
	start  int64 // of the interval, in intervals since the epoch

	n, neg              int
	sum, min, max, last float64
	values              []int64 // scaled, never negative; trends only
}

func newCell(s *series, start int64) *cell {
	c := &cell{series: s, start: start}
	if s.metric.Type == metrics.Trend {
		c.values = make([]int64, 0, s.usual)
	}
	return c
}

// add takes a finite value.
func (c *cell) add(value float64) {
	if c.series.metric.Type == metrics.Rate && value != 0 {
		value = 1 // k6 counts whatever is not zero as true
	}
	if c.n == 0 || value < c.min {
		c.min = value
	}
	if c.n == 0 || value > c.max {
		c.max = value
	}
	c.n++
	c.sum += value
	c.last = value
	if c.series.metric.Type != metrics.Trend {
		return
	}
	scaled := math.Min(math.Round(value*c.series.scale), highest)
	if value < 0 {
		c.neg++
		scaled = 0
	}
	c.values = append(c.values, int64(scaled))
}

// interval holds the cells of all series that had a sample in it, in the order of their first.
type interval struct {
	start int64
	cells []*cell
	of    map[*series]*cell
}

// intervals holds what is not written yet.
type intervals struct {
	open    map[int64]*interval
	written int64 // all that begin before this one were written
	first   int64 // samples from before it count as of it: the clock was set back
}

func newIntervals(first int64) *intervals {
	return &intervals{open: make(map[int64]*interval), written: first, first: first}
}

// add reports whether the sample is late: its interval was written already.
func (i *intervals) add(s *series, start int64, value float64) (late bool) {
	start = max(start, i.first)
	if s.newest == nil || s.newest.start != start {
		s.newest = i.cell(s, start)
	}
	s.newest.add(value)
	return start < i.written
}

func (i *intervals) cell(s *series, start int64) *cell {
	in := i.open[start]
	if in == nil {
		in = &interval{start: start, of: make(map[*series]*cell)}
		i.open[start] = in
	}
	c := in.of[s]
	if c == nil {
		c = newCell(s, start)
		in.of[s] = c
		in.cells = append(in.cells, c)
	}
	return c
}

// take removes all intervals that begin before the end, in their order. What comes for them from now on is late.
func (i *intervals) take(end int64) []*cell {
	var due []int64
	for start := range i.open {
		if start < end {
			due = append(due, start)
		}
	}
	slices.Sort(due)
	var cells []*cell
	for _, start := range due {
		for _, c := range i.open[start].cells {
			if c.series.newest == c {
				c.series.newest = nil
			}
			c.series.usual = len(c.values)
			cells = append(cells, c)
		}
		delete(i.open, start)
	}
	i.written = max(i.written, end)
	return cells
}
