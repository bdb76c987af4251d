package activity

// For tests only.

type PageToken = pageToken

func (p pageToken) Encode() string { return p.encode() }

var (
	DecodePage = decodePage
	ParseStart = parseStart
)
