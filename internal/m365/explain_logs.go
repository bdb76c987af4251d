package m365

const (
	docLogs       = "https://learn.microsoft.com/azure/azure-monitor/logs/api/errors"
	docLogsAccess = "https://learn.microsoft.com/azure/azure-monitor/logs/api/access-api"
	docLogsLimits = "https://learn.microsoft.com/azure/azure-monitor/fundamentals/service-limits"
	docLogsQuery  = "https://learn.microsoft.com/kusto/query/"
)

// logsExplanations are about queries of Log Analytics and Application Insights.
var logsExplanations = []Explanation{
	{
		Code:    "AuthenticationFailed",
		Title:   "the query carried no token",
		Cause:   "The header Authorization is missing, or an API key was sent, which the service does not take any more.",
		Remedy:  "Sign in with Entra ID (`reeve token --resource logs`), and see whether a proxy drops the header.",
		Who:     []string{operator, networkPeople},
		Waiting: noWait,
		Source:  docLogsAccess,
	},
	{
		Code:    "InvalidAuthenticationTokenAudience",
		Title:   "the token is for another resource than the logs",
		Cause:   "Log Analytics and Application Insights have audiences of their own, and another in each cloud.",
		Remedy:  "Ask for the token for the audience that the message names.",
		Who:     []string{operator},
		Waiting: noWait,
		Source:  docLogsAccess,
	},
	{
		Code:    "InsufficientAccessError",
		Title:   "the application may not read this workspace",
		Cause:   "It has no role on the workspace or the Application Insights resource. Permissions of Entra ID do not help here.",
		Remedy:  "Give the application's service principal the role Log Analytics Reader, or Monitoring Reader, on it (Access control (IAM)).",
		Who:     []string{workspaceOwner},
		Waiting: "Yes, up to an hour, if the role was given just now. Otherwise no.",
		Source:  docLogsAccess,
	},
	{
		Code:    "PathNotFoundError",
		Title:   "there is no such workspace or application",
		Cause:   "The ID in the address is wrong, or is of the other kind: a workspace at the host of Application Insights, an instrumentation key in place of the application ID.",
		Remedy:  "Copy the Workspace ID from its Overview, or the Application ID from API Access.",
		Who:     []string{operator},
		Waiting: noWait,
	},
	{
		Code:    "SyntaxError",
		Title:   "the query is not written as it must be",
		Cause:   "The service cannot read the query; the message says at which place.",
		Remedy:  "Try the query in the portal: workspace > Logs.",
		Who:     []string{operator, developers},
		Waiting: noWait,
		Source:  docLogsQuery,
	},
	{
		Code:    "BadArgumentError",
		Title:   "the query or its time span is wrong",
		Cause:   "A table or column does not exist, or the time span cannot be read. A table that has never had a row does not exist for some workspaces.",
		Remedy:  "Correct what the message names; look at the tables at workspace > Logs.",
		Who:     []string{operator, developers},
		Waiting: noWait,
	},
	{
		Code:    "PartialError",
		Title:   "the answer is not complete",
		Cause:   "The query met a limit: 500,000 rows, about 100 MB, or its time. What came is a part, and must not be taken for the whole.",
		Remedy:  "Ask for shorter times, and add up.",
		Who:     []string{developers},
		Waiting: noWait,
		Source:  docLogsLimits,
	},
	{
		Code:    "GatewayTimeout",
		Title:   "the query took too long",
		Cause:   "A query has 3 minutes, 10 if it asks for them, and the service may be busy.",
		Remedy:  "Ask for a shorter time, with fewer joins; it is tried again.",
		Who:     []string{nobody, developers},
		Waiting: "Yes, minutes, if the service is busy. Otherwise no.",
		Source:  docLogsLimits,
	},
	{
		Code:    "ThrottledError",
		Title:   "the log queries are throttled",
		Cause:   "An identity may ask 200 times in 30 seconds, and 5 queries at once.",
		Remedy:  "Nothing; it is tried again. If it lasts, see what else queries as this identity.",
		Who:     []string{nobody, operator},
		Waiting: waitRetryTime,
		Source:  docLogsLimits,
	},
}
