package graph

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// filter is an expression of $filter that fits the type for which it was
// parsed.
type filter struct {
	matches  func(entity) bool
	advanced bool // needs ConsistencyLevel: eventual and $count=true
}

// Bounds of an expression.
const (
	maxFilter  = 8 << 10 // bytes
	maxDepth   = 32      // parentheses and nots
	maxClauses = 15      // of an or, and values of an in
)

var filterToken = regexp.MustCompile(`^\s*(?:` +
	`('(?:[^']|'')*')` + // 1 text
	`|([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2})|[0-9]{4}-[0-9]{2}-[0-9]{2})` + // 2 date
	`|([0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})` + // 3 guid
	`|(-?[0-9]+)` + // 4 number
	`|([A-Za-z_][A-Za-z0-9_./$]*)` + // 5 name
	`|([(),:])` + // 6 sign
	`)`)

// literal is a value in an expression.
type literal struct {
	typ  string // text, date, guid, number, flag or null
	text string
	time time.Time // of a date
}

// edmNames are the names of types in refusals.
var edmNames = map[string]string{
	"text": "Edm.String", "date": "Edm.DateTimeOffset", "guid": "Edm.Guid", "number": "Edm.Int32", "flag": "Edm.Boolean", "null": "<null>",
	"binary": "Edm.Binary",
}

var operatorNames = map[string]string{
	"eq": "Equal", "ne": "NotEqual", "ge": "GreaterThanOrEqual", "le": "LessThanOrEqual", "gt": "GreaterThan", "lt": "LessThan",
}

// parser reads an expression from left to right. The first refusal stays.
type parser struct {
	typ      *entityType
	rest     string
	err      *graphError
	advanced bool
	depth    int
	kind     int // of the token under way, as numbered in filterToken; 0 at the end
	text     string
}

// parseFilter reads an expression over the properties of a type.
func parseFilter(text string, typ *entityType) (filter, *graphError) {
	if len(text) > maxFilter {
		return filter{}, badRequest("Invalid filter clause: it is too long.")
	}
	p := &parser{typ: typ, rest: text}
	p.next()
	matches := p.or()
	if p.kind != 0 {
		p.syntax()
	}
	if p.err != nil {
		return filter{}, p.err
	}
	return filter{matches: matches, advanced: p.advanced}, nil
}

func (p *parser) next() {
	m := filterToken.FindStringSubmatchIndex(p.rest)
	if m == nil {
		p.kind, p.text = 0, ""
		if strings.TrimSpace(p.rest) != "" {
			p.syntax()
		}
		p.rest = ""
		return
	}
	for kind := 1; 2*kind < len(m); kind++ {
		if m[2*kind] >= 0 {
			p.kind, p.text = kind, p.rest[m[2*kind]:m[2*kind+1]]
		}
	}
	p.rest = p.rest[m[1]:]
}

func (p *parser) fail(err *graphError) {
	if p.err == nil {
		p.err = err
	}
	p.kind, p.text, p.rest = 0, "", ""
}

func (p *parser) syntax() {
	p.fail(badRequest("Invalid filter clause: Syntax error in the expression."))
}

func (p *parser) is(word string) bool { return p.kind >= 5 && p.text == word }

func (p *parser) take(word string) bool {
	if !p.is(word) {
		return false
	}
	p.next()
	return true
}

func (p *parser) want(word string) {
	if !p.take(word) {
		p.syntax()
	}
}

func never(entity) bool { return false }

func (p *parser) or() func(entity) bool {
	all := []func(entity) bool{p.and()}
	for p.take("or") {
		all = append(all, p.and())
	}
	if len(all) > maxClauses {
		p.clauses(len(all))
	}
	return func(e entity) bool {
		return slices.ContainsFunc(all, func(one func(entity) bool) bool { return one(e) })
	}
}

func (p *parser) clauses(n int) {
	p.fail(badRequest("Too many child clauses specified in search filter expression containing 'OR' operators: %d. Max allowed: %d.", n, maxClauses))
}

func (p *parser) and() func(entity) bool {
	all := []func(entity) bool{p.not()}
	for p.take("and") {
		all = append(all, p.not())
	}
	return func(e entity) bool {
		return !slices.ContainsFunc(all, func(one func(entity) bool) bool { return !one(e) })
	}
}

func (p *parser) not() func(entity) bool {
	if p.depth++; p.depth > maxDepth {
		p.fail(badRequest("Invalid filter clause: it is nested too deeply."))
		return never
	}
	defer func() { p.depth-- }()
	switch {
	case p.take("not"):
		p.advanced = true
		one := p.not()
		return func(e entity) bool { return !one(e) }
	case p.take("("):
		one := p.or()
		p.want(")")
		return one
	case p.kind != 5:
		p.syntax()
		return never
	}
	name := p.text
	p.next()
	if p.is("(") && !strings.Contains(name, "/") {
		return p.function(name)
	}
	// Graph's page on listing teams has Any.
	if collection, ok := strings.CutSuffix(strings.Replace(name, "/Any", "/any", 1), "/any"); ok {
		return p.any(collection)
	}
	if strings.HasSuffix(name, "/$count") {
		p.fail(notEmulated("$filter by the number of elements"))
		return never
	}
	if strings.HasSuffix(name, "/all") {
		p.fail(unsupported("Unsupported query."))
		return never
	}
	prop, ok := p.property(p.typ, name)
	if !ok {
		return never
	}
	return p.compare(name, prop, func(e entity) any { return e[name] }, prop.may)
}

// property finds a property, or refuses a name that is none.
func (p *parser) property(typ *entityType, name string) (property, bool) {
	if p.err != nil {
		return property{}, false
	}
	prop, ok := typ.properties[name]
	if !ok {
		p.fail(badRequest("Could not find a property named '%s' on type 'microsoft.graph.%s'.", origin.Printable(name), typ.name))
	}
	return prop, ok
}

// function reads startswith(property,'text') and endswith, with the name read.
func (p *parser) function(name string) func(entity) bool {
	lower := strings.ToLower(name)
	if lower != "startswith" && lower != "endswith" && lower != "contains" {
		p.fail(badRequest("Invalid filter clause: An unknown function with name '%s' was found.", origin.Printable(name)))
		return never
	}
	p.want("(")
	path := p.text
	if p.kind != 5 {
		p.syntax()
	}
	p.next()
	prop, ok := p.property(p.typ, path)
	p.want(",")
	value := p.literal()
	p.want(")")
	if p.take("eq") {
		p.want("true")
	}
	return p.textFunction(lower, prop, ok, value, func(e entity) any { return e[path] }, prop.may)
}

func (p *parser) textFunction(name string, prop property, ok bool, value literal, get func(entity) any, may func(string) bool) func(entity) bool {
	switch {
	case p.err != nil || !ok:
		return never
	case value.typ != "text" || prop.typ != "text":
		p.fail(badRequest("No function signature for the function with name '%s' matches the specified arguments.", name))
		return never
	case !may(name):
		p.fail(unsupported("Unsupported or invalid query filter clause specified for the function '%s'.", name))
		return never
	}
	test := strings.HasPrefix
	if name == "endswith" {
		p.advanced = true
		test = strings.HasSuffix
	}
	want := strings.ToLower(value.text)
	return func(e entity) bool {
		s, ok := get(e).(string)
		return ok && test(strings.ToLower(s), want)
	}
}

// any reads (x:expression) over a collection of texts or of objects. Within,
// one comparison or startswith is allowed, as the directory allows it.
func (p *parser) any(name string) func(entity) bool {
	prop, ok := p.property(p.typ, name)
	p.want("(")
	variable := p.text
	if p.kind != 5 || strings.Contains(variable, "/") {
		p.syntax()
	}
	p.next()
	p.want(":")
	element, isList := strings.CutPrefix(prop.typ, "[")
	element = strings.TrimSuffix(element, "]")
	switch {
	case p.err != nil || !ok:
		return never
	case !isList:
		p.fail(badRequest("Invalid filter clause: any is for collections, which '%s' is not.", name))
		return never
	case !prop.may("any"):
		p.fail(unsupported("Unsupported or invalid query filter clause specified for property '%s' of resource '%s'.", name, p.typ.name))
		return never
	}
	function := ""
	if (p.is("startswith") || p.is("startsWith")) && strings.HasPrefix(strings.TrimSpace(p.rest), "(") {
		function = "startswith"
		p.next()
		p.want("(")
	}
	path := p.text
	if p.kind != 5 {
		p.syntax()
	}
	p.next()
	target := property{typ: element}
	member := ""
	if complexType, isObject := complexTypes[element]; isObject {
		rest, ok := strings.CutPrefix(path, variable+"/")
		if !ok {
			p.syntax()
			return never
		}
		member = rest
		if target, ok = p.property(complexType, member); !ok {
			return never
		}
	} else if path != variable {
		p.syntax()
		return never
	}
	get := func(e entity) any { return e[member] }
	may := func(operator string) bool {
		return slices.Contains([]string{"eq", "ge", "le", "startswith"}, operator)
	}
	var one func(entity) bool
	if function != "" {
		p.want(",")
		value := p.literal()
		p.want(")")
		one = p.textFunction(function, target, true, value, get, may)
	} else {
		one = p.compare(name, target, get, may)
	}
	p.want(")")
	return func(e entity) bool {
		return slices.ContainsFunc(elements(e[name]), one)
	}
}

// elements returns the elements of a collection; a text becomes the one
// unnamed member.
func elements(v any) []entity {
	var all []entity
	if texts, ok := v.([]string); ok {
		for _, s := range texts {
			all = append(all, entity{"": s})
		}
		return all
	}
	b, err := json.Marshal(v)
	if err != nil || json.Unmarshal(b, &all) != nil {
		return nil
	}
	return all
}

// compare reads an operator and what follows it.
func (p *parser) compare(name string, prop property, get func(entity) any, may func(string) bool) func(entity) bool {
	operator := p.text
	if p.kind != 5 {
		p.syntax()
		return never
	}
	p.next()
	if operator == "in" {
		return p.in(name, prop, get, may)
	}
	if operatorNames[operator] == "" {
		p.syntax()
		return never
	}
	value := p.literal()
	switch {
	case p.err != nil:
		return never
	case !fits(prop, value):
		p.fail(badRequest("A binary operator with incompatible types was detected. Found operand types '%s' and '%s' for operator kind '%s'.",
			edmName(prop.typ), edmNames[value.typ], operatorNames[operator]))
		return never
	case !may(operator):
		p.fail(unsupported("Unsupported or invalid query filter clause specified for property '%s' of resource '%s'.", name, p.typ.name))
		return never
	}
	if operator == "ne" {
		p.advanced = true
	}
	return func(e entity) bool {
		order, comparable := compareValue(get(e), value)
		switch operator {
		case "eq":
			return comparable && order == 0
		case "ne":
			return !comparable || order != 0
		case "ge":
			return comparable && order >= 0
		}
		return comparable && order <= 0 // le; gt and lt are documented for no property
	}
}

func (p *parser) in(name string, prop property, get func(entity) any, may func(string) bool) func(entity) bool {
	p.want("(")
	var values []literal
	for {
		value := p.literal()
		if p.err == nil && !fits(prop, value) {
			p.fail(badRequest("A binary operator with incompatible types was detected. Found operand types '%s' and '%s' for operator kind 'In'.",
				edmName(prop.typ), edmNames[value.typ]))
		}
		values = append(values, value)
		if !p.take(",") {
			break
		}
	}
	p.want(")")
	switch {
	case p.err != nil:
	case !may("in"):
		p.fail(unsupported("Unsupported or invalid query filter clause specified for property '%s' of resource '%s'.", name, p.typ.name))
	case len(values) > maxClauses:
		p.clauses(len(values))
	}
	return func(e entity) bool {
		return slices.ContainsFunc(values, func(l literal) bool {
			order, comparable := compareValue(get(e), l)
			return comparable && order == 0
		})
	}
}

func (p *parser) literal() literal {
	l := literal{text: p.text}
	switch {
	case p.kind == 1:
		l.typ, l.text = "text", strings.ReplaceAll(p.text[1:len(p.text)-1], "''", "'")
	case p.kind == 2:
		l.typ = "date"
		layout := time.RFC3339Nano
		if len(p.text) == len(time.DateOnly) {
			layout = time.DateOnly
		}
		t, err := time.Parse(layout, p.text)
		if err != nil {
			p.syntax()
		}
		l.time = t
	case p.kind == 3:
		l.typ = "guid"
	case p.kind == 4:
		l.typ = "number"
	case p.is("true"), p.is("false"):
		l.typ = "flag"
	case p.is("null"):
		l.typ = "null"
	default:
		p.syntax()
	}
	p.next()
	return l
}

func edmName(typ string) string {
	if name := edmNames[typ]; name != "" {
		return name
	}
	return "microsoft.graph." + strings.Trim(typ, "[]")
}

func fits(p property, l literal) bool {
	return l.typ == p.typ && p.typ != "" || l.typ == "null" && edmNames[p.typ] != "" || p.typ == "binary" && l.typ == "text"
}

// compareValue compares a property's value, as it is written, with a literal.
// The directory compares texts without regard to case.
func compareValue(v any, l literal) (order int, comparable bool) {
	if l.typ == "null" {
		return 0, v == nil
	}
	switch v := v.(type) {
	case string:
		if l.typ == "date" {
			t, err := time.Parse(time.RFC3339Nano, v)
			return t.Compare(l.time), err == nil
		}
		return strings.Compare(strings.ToLower(v), strings.ToLower(l.text)), true
	case bool:
		return strings.Compare(strconv.FormatBool(v), l.text), true
	}
	return 0, false
}
