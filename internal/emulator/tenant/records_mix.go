package tenant

const numContentTypes = 5

// contentTypes are the five documented content types, each with its share of
// all records and the kinds of records in it. Adding a kind is one function and
// one line here.
var contentTypes = [numContentTypes]contentType{
	{name: "Audit.AzureActiveDirectory", suffix: "audit_azureactivedirectory$Audit_AzureActiveDirectory", share: .18, mix: []shape{
		{recordType: 15, weight: 76, service: true, render: signIn},
		{recordType: 8, weight: 24, service: true, render: directoryChange},
	}},
	{name: "Audit.Exchange", suffix: "audit_exchange$Audit_Exchange", share: .20, mix: []shape{
		{recordType: 50, weight: 44, render: mailItemsAccessed},
		{recordType: 2, weight: 28, render: mailboxItem},
		{recordType: 3, weight: 16, render: mailboxItems},
		{recordType: 1, weight: 12, service: true, render: exchangeAdmin},
	}},
	{name: "Audit.SharePoint", suffix: "audit_sharepoint$Audit_SharePoint", share: .44, mix: []shape{
		{recordType: 6, weight: 58, service: true, render: fileOperation},
		{recordType: 4, weight: 17, render: pageOrSearch},
		{recordType: 36, weight: 11, render: listOperation},
		{recordType: 14, weight: 8, render: sharing},
		{recordType: 7, weight: 3, render: oneDriveSync},
		{recordType: 37, weight: 3, render: comment},
	}},
	{name: "Audit.General", suffix: "audit_general$Audit_General", share: .16, mix: []shape{
		{recordType: 25, weight: 46, render: teams},
		{recordType: 261, weight: 17, render: copilot},
		{recordType: 20, weight: 11, render: powerBI},
		{recordType: 22, weight: 5, render: vivaEngage},
		{recordType: 66, weight: 5, render: forms},
		{recordType: 30, weight: 5, service: true, render: flow},
		{recordType: 43, weight: 5, render: label},
		{recordType: 40, weight: 4, render: securityAlert},
		{recordType: 9417, weight: 2, render: unheardOf},
	}},
	{name: "DLP.All", suffix: "dlp_all$DLP_All", share: .02, mix: []shape{
		{recordType: 11, weight: 50, service: true, render: dlpSharePoint},
		{recordType: 13, weight: 35, render: dlpExchange},
		{recordType: 63, weight: 15, render: dlpEndpoint},
	}},
}
