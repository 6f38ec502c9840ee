package hdrlog

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.k6.io/k6/v2/output"
)

// Defaults and bounds of the parameters. The page lists the same ones, and a test compares them.
const (
	defaultInterval = time.Second
	minInterval     = 100 * time.Millisecond
	maxInterval     = time.Minute // samples are in memory until their interval is over
	defaultSeries   = 10_000
	maxSeries       = 1_000_000
)

const envPrefix = "K6_HDRLOG_"

// config is what was asked for.
type config struct {
	file     string
	tags     []string
	interval time.Duration // whole milliseconds
	series   int
}

// parameter reads one value; its error says what is allowed.
type parameter func(c *config, value string) error

// Each is known by the same name in all places: in the argument after the file, in capitals behind K6_HDRLOG_ in the
// environment, and in k6's configuration file.
//
//nolint:gochecknoglobals // a constant table
var parameters = map[string]parameter{
	"file":     (*config).setFile,
	"interval": (*config).setInterval,
	"series":   (*config).setSeries,
	"tags":     (*config).setTags,
}

// readConfig takes each parameter from the argument, else the environment, else the configuration file, else its default.
func readConfig(params output.Params) (*config, error) {
	c := &config{tags: []string{"scenario"}, interval: defaultInterval, series: defaultSeries}
	if err := c.readJSON(params.JSONConfig); err != nil {
		return nil, err
	}
	if err := c.readEnvironment(params.Environment); err != nil {
		return nil, err
	}
	if err := c.readArgument(params.ConfigArgument); err != nil {
		return nil, err
	}
	if c.file == "" {
		return nil, fmt.Errorf("it needs a file: --out %s=FILE, or %sFILE in the environment", Name, envPrefix)
	}
	return c, nil
}

// readArgument reads FILE?tags=a,b&interval=1s&series=N. What stands before the first question mark is the file, as it is.
func (c *config) readArgument(argument string) error {
	file, query, _ := strings.Cut(argument, "?")
	if file != "" {
		if err := c.setFile(file); err != nil {
			return err
		}
	}
	given, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("the argument is %q: %w; allowed is FILE?tags=a,b&interval=1s&series=N", argument, err)
	}
	for _, name := range sorted(given) {
		read, known := parameters[name]
		if !known || name == "file" {
			return fmt.Errorf("the argument has the parameter %q; allowed are interval, series and tags", name)
		}
		if len(given[name]) > 1 {
			return fmt.Errorf("the argument has the parameter %q %d times; allowed is once", name, len(given[name]))
		}
		if err := read(c, given[name][0]); err != nil {
			return fmt.Errorf("%s is %q in the argument; %w", name, given[name][0], err)
		}
	}
	return nil
}

func (c *config) readEnvironment(environment map[string]string) error {
	for _, variable := range sorted(environment) {
		name, ours := strings.CutPrefix(variable, envPrefix)
		if !ours {
			continue
		}
		read, known := parameters[strings.ToLower(name)]
		if !known || name != strings.ToUpper(name) {
			return fmt.Errorf("the environment has %s; allowed are %s", variable, strings.Join(variables(), ", "))
		}
		if err := read(c, environment[variable]); err != nil {
			return fmt.Errorf("%s is %q in the environment; %w", variable, environment[variable], err)
		}
	}
	return nil
}

// readJSON reads what k6's configuration file has below collectors.hdrlog.
func (c *config) readJSON(raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	var given map[string]any
	if err := json.Unmarshal(raw, &given); err != nil {
		return fmt.Errorf("collectors.%s in the configuration file: %w; allowed is an object", Name, err)
	}
	for _, name := range sorted(given) {
		read, known := parameters[name]
		if !known {
			return fmt.Errorf("collectors.%s in the configuration file has %q; allowed are %s",
				Name, name, strings.Join(sorted(parameters), ", "))
		}
		text := fmt.Sprint(given[name])
		switch value := given[name].(type) {
		case float64:
			text = strconv.FormatFloat(value, 'f', -1, 64)
		case []any:
			items := make([]string, len(value))
			for i, item := range value {
				items[i] = fmt.Sprint(item)
			}
			text = strings.Join(items, ",")
		}
		if err := read(c, text); err != nil {
			return fmt.Errorf("%s is %q in collectors.%s of the configuration file; %w", name, text, Name, err)
		}
	}
	return nil
}

func (c *config) setFile(value string) error {
	if value == "" || value == "-" {
		return fmt.Errorf("allowed is the path of a file, since %s writes two", Name)
	}
	c.file = value
	return nil
}

func (c *config) setTags(value string) error {
	tags := []string{}
	if value != "" {
		tags = strings.Split(value, ",")
	}
	for i, tag := range tags {
		if tag == "" || slices.Contains(tags[:i], tag) {
			return fmt.Errorf("allowed are names of tags with commas between them, each once, or nothing")
		}
	}
	c.tags = tags
	return nil
}

func (c *config) setInterval(value string) error {
	interval, err := time.ParseDuration(value)
	if err != nil || interval < minInterval || interval > maxInterval || interval%time.Millisecond != 0 {
		return fmt.Errorf("allowed is a duration of whole milliseconds from %s to %s, such as \"1s\"", minInterval, maxInterval)
	}
	c.interval = interval
	return nil
}

func (c *config) setSeries(value string) error {
	series, err := strconv.Atoi(value)
	if err != nil || series < 1 || series > maxSeries {
		return fmt.Errorf("allowed is a whole number from 1 to %d", maxSeries)
	}
	c.series = series
	return nil
}

func variables() []string {
	names := sorted(parameters)
	for i, name := range names {
		names[i] = envPrefix + strings.ToUpper(name)
	}
	return names
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
