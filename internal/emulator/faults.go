package emulator

import (
	"github.com/reeve365/reeve/internal/emulator/activity"
	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/logs"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// FaultKind says what goes wrong.
type FaultKind = origin.FaultKind

// Kinds of faults, each documented where it is declared. Those of the second
// group only the Management Activity API knows, that of the third only the token
// service, those of the fourth only the queries of logs.
const (
	Throttle       = origin.Throttle
	ThrottleSilent = origin.ThrottleSilent
	Unavailable    = origin.Unavailable
	ServerError    = origin.ServerError
	BadGateway     = origin.BadGateway
	GatewayTimeout = origin.GatewayTimeout
	Burst          = origin.Burst
	Reset          = origin.Reset
	LostResponse   = origin.LostResponse
	ResetBody      = origin.ResetBody
	Truncated      = origin.Truncated
	Slow           = origin.Slow
	StaleRead      = origin.StaleRead
	ClockStep      = origin.ClockStep
	ExpiredToken   = origin.ExpiredToken
	ForeignToken   = origin.ForeignToken

	AF429       = activity.AF429
	NotArray    = activity.NotArray
	NotJSON     = activity.NotJSON
	Endless     = activity.Endless
	Gone        = activity.Gone
	RepeatPage  = activity.RepeatPage
	ForeignLink = activity.ForeignLink
	ShortPages  = activity.ShortPages
	NewestFirst = activity.NewestFirst

	ShortToken = entra.ShortToken

	PartialError = logs.Partial
	QueryTimeout = logs.Timeout
)

// ownFaults are the kinds that one API alone carries out.
var ownFaults = map[string][]FaultKind{
	origin.Manage:    {AF429, NotArray, NotJSON, Endless, Gone, RepeatPage, ForeignLink, ShortPages, NewestFirst},
	origin.Authority: {ShortToken},
	origin.Logs:      {PartialError, QueryTimeout},
}
