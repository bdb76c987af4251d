package config

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"sync"
	"time"
)

// A Key describes one setting, for flags, help and documents.
type Key struct {
	Name    string   // as in the file: "feeds.audit.days"
	Env     string   // "REEVE_FEEDS_AUDIT_DAYS"
	Flag    string   // without dashes in front: "feeds-audit-days"
	Type    string   // "text", "secret", "whole number", "true or false", "duration" or "list"
	Default string   // as text; a list has its elements separated by commas
	Values  []string // what the value, or each element of a list, can be; nil if open
	Doc     string   // a paragraph
}

// Bool reports whether the setting is true or false, so that its flag needs no
// value.
func (k Key) Bool() bool { return k.Type == "true or false" }

// Secret reports whether the value must not be shown.
func (k Key) Secret() bool { return k.Type == "secret" }

// Keys returns every setting, in the order of Config's fields.
func Keys() []Key {
	docs := docs()
	keys := make([]Key, 0, len(fields()))
	for _, f := range fields() {
		keys = append(keys, Key{
			Name:    f.key,
			Env:     f.env(),
			Flag:    f.flag(),
			Type:    f.typeName(),
			Default: f.tag.Get("default"),
			Values:  f.values(),
			Doc:     docs[f.doc],
		})
	}
	return keys
}

// A field is a setting's place in Config.
type field struct {
	key   string
	index []int // for reflect.Value.FieldByIndex
	typ   reflect.Type
	tag   reflect.StructTag
	doc   string // Type.Field, the key into docs
}

func (f field) env() string  { return "REEVE_" + strings.ToUpper(keySeparators.Replace(f.key)) }
func (f field) flag() string { return strings.ReplaceAll(f.key, ".", "-") }

var keySeparators = strings.NewReplacer(".", "_", "-", "_")

// values returns the words that the setting can be, or nil.
func (f field) values() []string {
	if words := f.tag.Get("oneof"); words != "" {
		return strings.Fields(words)
	}
	return nil
}

func (f field) secret() bool { return f.typ == reflect.TypeFor[Secret]() }
func (f field) list() bool   { return f.typ.Kind() == reflect.Slice }

func (f field) typeName() string {
	switch {
	case f.secret():
		return "secret"
	case f.typ == reflect.TypeFor[time.Duration]():
		return "duration"
	case f.list():
		return "list"
	case f.typ.Kind() == reflect.Int:
		return "whole number"
	case f.typ.Kind() == reflect.Bool:
		return "true or false"
	}
	return "text"
}

// fields returns every setting, in the order of Config's fields.
var fields = sync.OnceValue(func() []field {
	return appendFields(nil, reflect.TypeFor[Config](), "", nil)
})

func appendFields(fs []field, t reflect.Type, prefix string, index []int) []field {
	for i := range t.NumField() {
		sf := t.Field(i)
		name, ok := sf.Tag.Lookup("key")
		if !ok {
			continue
		}
		at := append(index[:len(index):len(index)], i)
		if sf.Type.Kind() == reflect.Struct {
			fs = appendFields(fs, sf.Type, prefix+name+".", at)
			continue
		}
		fs = append(fs, field{prefix + name, at, sf.Type, sf.Tag, t.Name() + "." + sf.Name})
	}
	return fs
}

func fieldOf(key string) (field, bool) {
	for _, f := range fields() {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// isSection reports whether key is the first part of other keys, as "feeds" is.
func isSection(key string) bool {
	for _, f := range fields() {
		if strings.HasPrefix(f.key, key+".") {
			return true
		}
	}
	return false
}

//go:embed config.go
var configSource string

// docs returns the comment on each field of each struct in config.go, as one
// line, by Type.Field. Reading them out of the source keeps the manual in one
// place.
var docs = sync.OnceValue(func() map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", configSource, parser.ParseComments)
	if err != nil {
		panic(err) // The file has been compiled.
	}
	docs := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if st, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return false
	})
	return docs
})
