package logs

// For tests only.

var (
	ParseTimespan = parseTimespan
	Normalize     = normalize
	ReadBatch     = readBatch
)

// ReadBody reads the body of a query and returns its text.
func ReadBody(text []byte) (string, error) {
	var q request
	err := q.readBody(text, q.to)
	return q.query, err
}
