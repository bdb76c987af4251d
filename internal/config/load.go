package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A Source says where settings come from. The strongest first: flags, REEVE_
// variables, the file, names that others use (the Azure SDK's, then the
// original engine's), defaults. What was written for reeve so wins over what
// lies about for other programs.
type Source struct {
	File    string            // the YAML file; if empty, the one that REEVE_CONFIG names, if any
	Environ []string          // "NAME=value", as from os.Environ
	Flags   map[string]string // by key, only those that were set; a list has commas
	SignIn  bool              // the command signs in, so what that needs must be there
}

// Load reads and checks all settings. Its error is a *Problems that lists
// everything that is wrong.
func Load(s Source) (*Config, error) {
	l := &loader{config: &Config{origins: map[string]string{}}, bad: map[string]bool{}}
	env := environment(s.Environ)
	if s.File == "" {
		s.File = env[fileVariable].value
	}
	var file []given
	if s.File != "" {
		file = l.collect(readFile(s.File))
	}
	variables := l.collect(readEnvironment(env))
	flags := l.collect(readFlags(s.Flags))
	layers := [][]given{flags, variables, file}
	for _, givens := range [][]given{file, variables, flags} {
		l.check(givens)
	}

	cloud := find(layers, "cloud")
	layers = append(layers, l.inCloud(cloud, renamed(env, azureNames)))
	orig := originalSettings(env, func(key string) bool { return find(layers, key) != nil })
	layers = append(layers, l.inCloud(cloud, orig.givens))
	l.collect(nil, orig.problems)
	l.config.notices = append(l.config.notices, orig.notices...)

	for _, f := range fields() {
		l.settle(f, layers)
	}
	l.checkTogether(s.SignIn)
	if len(l.problems) > 0 {
		return nil, &l.problems
	}
	return l.config, nil
}

type loader struct {
	config   *Config
	problems Problems
	bad      map[string]bool // keys with a problem, of which nothing more is said
}

func (l *loader) collect(givens []given, problems []Problem) []given {
	for _, p := range problems {
		l.problem(p)
	}
	return givens
}

func (l *loader) problem(p Problem) {
	l.problems = append(l.problems, p)
	l.bad[p.Key] = true
}

// check reads the values of a layer of ours, so that a wrong one is reported
// even where a stronger layer wins.
func (l *loader) check(givens []given) {
	for _, g := range givens {
		f, _ := fieldOf(g.key)
		l.read(f, g)
	}
}

// read reads a value and records what is wrong with it.
func (l *loader) read(f field, g given) (reflect.Value, bool) {
	ok := true
	list := reflect.New(f.typ).Elem()
	for i, text := range g.texts {
		v, err := f.parse(text)
		switch {
		case err != nil:
			ok = false
			l.problem(Problem{f.key, g.at(i), f.shown(text), err.Error()})
		case !f.list():
			return v, true
		default:
			list = reflect.Append(list, v)
		}
	}
	return list, ok
}

// shown returns a value as a problem may show it. An address of a database can
// hold a password in too many places to hide only that.
func (f field) shown(text string) string {
	if f.secret() || f.tag.Get("form") == "database" && strings.ContainsAny(text, "@=?") {
		return ""
	}
	return shown(text)
}

// settle sets a field from the strongest layer that gives it.
func (l *loader) settle(f field, layers [][]given) {
	place := reflect.ValueOf(l.config).Elem().FieldByIndex(f.index)
	g := given{f.key, nil, []string{"default"}}
	if d := f.tag.Get("default"); d != "" {
		g = give(f.key, d, "default")
	}
	var weaker []given
	for i, layer := range slices.Backward(layers) {
		if found := find([][]given{layer}, f.key); found != nil {
			if i >= ownLayers {
				weaker = append(weaker, *found)
			}
			g = *found
		}
	}
	l.config.origins[f.key] = g.origin[0]
	if l.bad[f.key] {
		return
	}
	if v, ok := l.read(f, g); ok {
		place.Set(v)
	}
	l.overruled(f, g, weaker)
}

// inCloud leaves out foreign names of the host to sign in at when a cloud was
// chosen: they name the cloud that the machine is in (AKS and App Service always
// set one), which need not be the tenant's.
func (l *loader) inCloud(cloud *given, foreign []given) []given {
	if cloud == nil || cloud.texts[0] == "custom" {
		return foreign
	}
	return slices.DeleteFunc(foreign, func(g given) bool {
		if g.key == "authority-host" {
			l.notice("%s is not used: cloud is %s (%s)", g.origin[0], cloud.texts[0], cloud.origin[0])
		}
		return g.key == "authority-host"
	})
}

// ownLayers is how many of Load's layers are written for reeve.
const ownLayers = 3

// overruled tells about foreign names that say something else than what counts.
func (l *loader) overruled(f field, g given, weaker []given) {
	for _, w := range weaker {
		if !same(f, w, g) {
			l.config.notices = append(l.config.notices,
				fmt.Sprintf("%s is not used: %s comes from %s", w.origin[0], f.key, g.origin[0]))
		}
	}
}

// same reports whether two sources give one value, perhaps spelled differently.
func same(f field, a, b given) bool {
	return slices.EqualFunc(a.texts, b.texts, func(a, b string) bool {
		x, errX := f.parse(a)
		y, errY := f.parse(b)
		return errX == nil && errY == nil && x.Equal(y)
	})
}

// find returns what the strongest layer gives for a key, or nil. The last of
// several in one layer counts.
func find(layers [][]given, key string) *given {
	for _, layer := range layers {
		for i := range slices.Backward(layer) {
			if layer[i].key == key {
				return &layer[i]
			}
		}
	}
	return nil
}

func readFlags(flags map[string]string) ([]given, []Problem) {
	var givens []given
	var problems []Problem
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		f, ok := fieldOf(key)
		if !ok {
			problems = append(problems, Problem{Key: key, Origin: "flag", Text: "unknown key" + keyHint(key)})
			continue
		}
		givens = append(givens, give(key, flags[key], "flag --"+f.flag()))
	}
	return givens, problems
}

// A Setting is one effective setting.
type Setting struct {
	Key    string
	Value  string // as text; "<secret>" for a secret that is set
	Origin string // "default", "reeve.yaml:12", "environment variable NAME" or "flag --x"
	Doc    string
}

// Settings returns every effective setting in the order of Config's fields.
func (c *Config) Settings() []Setting {
	docs := docs()
	var settings []Setting
	for _, f := range fields() {
		v := reflect.ValueOf(c).Elem().FieldByIndex(f.index)
		settings = append(settings, Setting{f.key, f.text(v), c.origins[f.key], docs[f.doc]})
	}
	return settings
}

// Notices returns what is allowed but should be known: a secret in use, a
// setting without effect. Each is a sentence without a full stop.
func (c *Config) Notices() []string { return slices.Clone(c.notices) }
