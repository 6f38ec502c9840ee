package hdrlog

import (
	"hash/maphash"
	"strconv"
	"strings"

	"go.k6.io/k6/v2/metrics"
)

// maxRefused bounds what is remembered of refused tag sets: 8 bytes each and the table's own share.
const maxRefused = 100_000

// series is one metric with one set of the chosen tags.
type series struct {
	number  int
	metric  *metrics.Metric
	tags    map[string]string
	scale   float64 // a histogram's integer is value times scale; trends only
	indexed bool    // whether its line of the index is written

	newest *cell // the cell of the latest sample: the next is most often of the same interval
	usual  int   // how many samples its last written cell had, as a guess for the next one
}

// index gives each sample its series, and no more than so many of them.
//
// A series needs about 300 bytes beside the texts of its tags, also in the two tables. The way from k6's tag sets, which may be
// as many as requests, is a cache that is emptied when it holds four times as many.
type index struct {
	tags  []string
	limit int

	cache    map[metrics.TimeSeries]*series
	known    map[string]*series
	overflow map[string]*series // by name of the metric; these come on top of the limit
	numbers  int

	seed     maphash.Seed
	refused  map[uint64]struct{}
	onRefuse func() // called at the first one
}

func newIndex(tags []string, limit int, onRefuse func()) *index {
	return &index{
		tags:     tags,
		limit:    limit,
		cache:    make(map[metrics.TimeSeries]*series),
		known:    make(map[string]*series),
		overflow: make(map[string]*series),
		seed:     maphash.MakeSeed(),
		refused:  make(map[uint64]struct{}),
		onRefuse: onRefuse,
	}
}

// of finds or makes the series of a sample.
func (x *index) of(ts metrics.TimeSeries) *series {
	if s, ok := x.cache[ts]; ok {
		return s
	}
	if len(x.cache) >= 4*x.limit+1000 {
		clear(x.cache)
	}
	s := x.find(ts)
	x.cache[ts] = s
	return s
}

func (x *index) find(ts metrics.TimeSeries) *series {
	tags := make(map[string]string)
	var key strings.Builder
	key.WriteString(ts.Metric.Name)
	for _, name := range x.tags {
		value, has := ts.Tags.Get(name)
		if has {
			tags[name] = value
			key.WriteString(strconv.Quote(value)) // values may hold any character
		} else {
			key.WriteByte('-')
		}
	}
	s, ok := x.known[key.String()]
	if !ok {
		if len(x.known) >= x.limit {
			return x.refuse(ts.Metric, key.String())
		}
		s = x.make(ts.Metric, tags)
		x.known[key.String()] = s
	}
	return s
}

// refuse hands out the metric's series for all that are too many.
func (x *index) refuse(metric *metrics.Metric, key string) *series {
	if len(x.refused) == 0 {
		x.onRefuse()
	}
	if len(x.refused) < maxRefused {
		x.refused[maphash.String(x.seed, key)] = struct{}{}
	}
	s, ok := x.overflow[metric.Name]
	if !ok {
		s = x.make(metric, map[string]string{"overflow": "true"})
		x.overflow[metric.Name] = s
	}
	return s
}

func (x *index) make(metric *metrics.Metric, tags map[string]string) *series {
	s := &series{number: x.numbers, metric: metric, tags: tags, scale: 1000}
	if metric.Contains == metrics.Data {
		s.scale = 1 // bytes are whole
	}
	x.numbers++
	return s
}
