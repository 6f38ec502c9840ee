package hdrlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"go.k6.io/k6/v2/lib/fsext"
	"go.k6.io/k6/v2/metrics"
)

// files are the two files of an output. What is put is collected, and reaches both with flush, in one write each: a process that
// is killed leaves whole lines, as far as the system keeps them.
//
// The lines are written here: the writer of hdrhistogram-go gives the interval's max in ms of a value in ns, whatever the log
// holds, and base times without their fraction.
type files struct {
	log, values         io.WriteCloser
	logText, valuesText bytes.Buffer
	encoder             encoder
	interval            time.Duration
	baseMS              int64
}

// valuesSuffix makes the name of the second file.
const valuesSuffix = ".jsonl"

// create makes both files anew, and writes their heads.
func create(fs fsext.Fs, c *config, baseMS int64) (*files, error) {
	log, err := fs.Create(c.file)
	if err != nil {
		return nil, fmt.Errorf("making the file of histograms: %w", err)
	}
	values, err := fs.Create(c.file + valuesSuffix)
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("making the file of values: %w", err)
	}
	f := &files{log: log, values: values, interval: c.interval, baseMS: baseMS}
	f.putHead(c)
	if err := f.flush(); err != nil {
		_ = f.close()
		return nil, err
	}
	return f, nil
}

func (f *files) putHead(c *config) {
	base, iso := seconds(f.baseMS), time.UnixMilli(f.baseMS).UTC().Format("2006-01-02T15:04:05.000Z")
	fmt.Fprintf(&f.logText, "#[Histogram log format version 1.3]\n")
	fmt.Fprintf(&f.logText, "#[BaseTime: %s (seconds since epoch)]\n", base)
	fmt.Fprintf(&f.logText, "#[StartTime: %s (seconds since epoch), %s]\n", base, iso)
	fmt.Fprintf(&f.logText, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n")

	f.putJSON(struct {
		Format     string   `json:"format"`
		Version    int      `json:"version"`
		BaseMS     int64    `json:"baseMs"`
		IntervalMS int64    `json:"intervalMs"`
		Tags       []string `json:"tags"`
	}{"k6-barrier series", 1, f.baseMS, c.interval.Milliseconds(), c.tags})
}

// putCell writes what a series had in an interval, and before its first use, which series that is.
func (f *files) putCell(c *cell) error {
	if !c.series.indexed {
		c.series.indexed = true
		f.putSeries(c.series)
	}
	startMS := c.start * f.interval.Milliseconds()
	f.putValues(c, startMS)
	if c.series.metric.Type != metrics.Trend {
		return nil
	}
	histogram, err := f.encoder.encode(c.values)
	if err != nil {
		return fmt.Errorf("making a histogram of %s: %w", c.series.metric.Name, err)
	}
	// In the metric's own unit, as the format has it. It knows no sign.
	most := strconv.FormatFloat(math.Max(c.max, 0), 'f', 3, 64)
	fmt.Fprintf(&f.logText, "Tag=%d,%s,%s,%s,%s\n",
		c.series.number, seconds(startMS-f.baseMS), seconds(f.interval.Milliseconds()), most, histogram)
	return nil
}

func (f *files) putSeries(s *series) {
	line := struct {
		Series   int               `json:"series"`
		Metric   string            `json:"metric"`
		Type     string            `json:"type"`
		Contains string            `json:"contains"`
		Tags     map[string]string `json:"tags"`
		Scale    float64           `json:"scale,omitempty"`
	}{Series: s.number, Metric: s.metric.Name, Type: s.metric.Type.String(), Contains: s.metric.Contains.String(), Tags: s.tags}
	if s.metric.Type == metrics.Trend {
		line.Scale = s.scale
	}
	f.putJSON(line)
}

func (f *files) putValues(c *cell, startMS int64) {
	b := f.valuesText.AvailableBuffer()
	b = strconv.AppendInt(append(b, `{"s":`...), int64(c.series.number), 10)
	b = strconv.AppendInt(append(b, `,"t":`...), startMS, 10)
	b = strconv.AppendInt(append(b, `,"n":`...), int64(c.n), 10)
	b = appendFloat(append(b, `,"sum":`...), c.sum)
	switch c.series.metric.Type {
	case metrics.Trend, metrics.Gauge:
		b = appendFloat(append(b, `,"min":`...), c.min)
		b = appendFloat(append(b, `,"max":`...), c.max)
	}
	if c.series.metric.Type == metrics.Gauge {
		b = appendFloat(append(b, `,"last":`...), c.last)
	}
	if c.neg > 0 {
		b = strconv.AppendInt(append(b, `,"neg":`...), int64(c.neg), 10)
	}
	f.valuesText.Write(append(b, "}\n"...))
}

// putEnd writes the line that says that nothing is missing.
func (f *files) putEnd(samples, late, dropped int) {
	f.putJSON(struct {
		End           bool `json:"end"`
		Samples       int  `json:"samples"`
		LateSamples   int  `json:"lateSamples"`
		DroppedSeries int  `json:"droppedSeries"`
	}{true, samples, late, dropped})
}

// putJSON writes a line of what can always be written as JSON.
func (f *files) putJSON(line any) {
	encoder := json.NewEncoder(&f.valuesText)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(line)
}

// flush hands everything to the system. The index goes first: a histogram without its series could not be read.
func (f *files) flush() error {
	if _, err := f.valuesText.WriteTo(f.values); err != nil {
		return fmt.Errorf("writing values: %w", err)
	}
	if _, err := f.logText.WriteTo(f.log); err != nil {
		return fmt.Errorf("writing histograms: %w", err)
	}
	return nil
}

// close closes both, also where the first one fails.
func (f *files) close() error {
	err := f.values.Close()
	if logErr := f.log.Close(); err == nil {
		err = logErr
	}
	return err
}

// seconds is a time in ms as the log has it.
func seconds(ms int64) string {
	return fmt.Sprintf("%d.%03d", ms/1000, ms%1000)
}

// appendFloat writes a number of JSON. A sum of finite values may still be beyond all numbers; JSON has no infinity.
func appendFloat(b []byte, value float64) []byte {
	value = math.Max(-math.MaxFloat64, math.Min(value, math.MaxFloat64))
	format := byte('f')
	if size := math.Abs(value); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, value, format, -1, 64)
}
