package handout

// words say what somebody has to know who consents to a permission.
type words struct {
	Opens  string // what its holder can read, or change
	Cannot string // what reeve will never be able to do with it, after "reeve cannot"
	Least  string // whether a narrower one would do
	Writes bool   // it lets its holder change something
}

const narrowest = "It is the narrowest that Microsoft has for this."

// known are the words on every permission that a feed needs.
var known = map[string]words{
	"ActivityFeed.Read": {
		Opens:  "The audit log of the whole tenant: who did what, when, to which thing, from which address. Microsoft has no way to give a part of it.",
		Cannot: "read what is in a mail, a file or a chat, change or delete a record, or turn the log off",
		Least:  narrowest,
	},
	"ActivityFeed.ReadDlp": {
		Opens:  "Events of data loss prevention together with what was found, such as a card number.",
		Cannot: "read the rest of the document, or change a policy",
		Least:  "It is the narrowest that Microsoft has for this. The audit log does not need it.",
	},
	"User.Read.All": {
		Opens:  "The profiles of all people and guests: names, addresses, telephone numbers, departments, managers.",
		Cannot: "read anybody's mail, files or calendar, change a person, or reset a password",
		Least:  "User.ReadBasic.All is narrower, and leaves out departments, offices, managers and account states.",
	},
	"LicenseAssignment.Read.All": {
		Opens:  "Which licences the tenant has, and who has which.",
		Cannot: "give or take a licence, or buy one",
		Least:  narrowest,
	},
	"Reports.Read.All": {
		Opens:  "Usage figures, by person unless the tenant conceals names: how often something was used.",
		Cannot: "read what anybody wrote, said or filed",
		Least:  narrowest,
	},
	"ReportSettings.Read.All": {
		Opens:  "One setting: whether usage reports conceal names.",
		Cannot: "change that setting",
		Least:  narrowest,
	},
	"Team.ReadBasic.All": {
		Opens:  "Names and descriptions of all teams.",
		Cannot: "read messages or files, or change a team",
		Least:  narrowest,
	},
	"TeamMember.Read.All": {
		Opens:  "Who owns and belongs to each team.",
		Cannot: "add or remove anybody, or read what they write",
		Least:  narrowest,
	},
	"Channel.ReadBasic.All": {
		Opens:  "Names and descriptions of all channels, private ones as well.",
		Cannot: "read a message, or change a channel",
		Least:  narrowest,
	},
	"TeamsTab.Read.All": {
		Opens:  "Names and addresses of the tabs in channels.",
		Cannot: "open what a tab shows, or change it",
		Least:  narrowest,
	},
	"TeamsAppInstallation.ReadForTeam.All": {
		Opens:  "Which apps each team has.",
		Cannot: "install or remove an app, or read what it keeps",
		Least:  narrowest,
	},
	"TeamsAppInstallation.ReadForUser.All": {
		Opens:  "Which Teams apps each person has.",
		Cannot: "install or remove an app, or read what it keeps",
		Least:  narrowest,
	},
	"AppCatalog.Read.All": {
		Opens:  "Names of the apps in the organisation's own catalogue.",
		Cannot: "publish or change an app",
		Least:  narrowest,
	},
	"CallRecords.Read.All": {
		Opens:  "For each call and meeting: who took part, when, how long, with which device and from which network address.",
		Cannot: "listen, join, or read a transcript, a recording or the chat",
		Least:  narrowest,
	},
	"Data.Read": {
		Opens:  "By itself nothing: only the workspaces in which reeve is given the role Log Analytics Reader.",
		Cannot: "read another workspace, or write to one",
		Least:  narrowest,
	},
	"Application.Read.All": {
		Opens:  "All application registrations with the public parts and end dates of their certificates. Entra ID shows the value of a secret to nobody.",
		Cannot: "change an application, or read a secret or a private key",
		Least:  narrowest,
	},
	"Application.ReadWrite.OwnedBy": {
		Opens:  "Applications that reeve is made an owner of: it can change them, and so sign in as them. It can also make new ones, which it then owns.",
		Cannot: "change an application that it does not own, or give itself a permission",
		Least:  "Application.ReadWrite.All, which other products ask for, would open every application of the tenant.",
		Writes: true,
	},
}
