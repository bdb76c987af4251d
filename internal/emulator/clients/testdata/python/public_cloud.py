"""Uses the SDKs as for Microsoft's public cloud, with nothing told to them but
HTTPS_PROXY: no address, and no check left out."""
from datetime import timedelta

import msal
from azure.core.exceptions import HttpResponseError
from azure.identity import CertificateCredential
from azure.keyvault.certificates import CertificateClient
from azure.monitor.query import LogsBatchQuery, LogsQueryClient, LogsQueryStatus

from step import end, env, must, step

credential = CertificateCredential(env["TENANT_ID"], env["CLIENT_ID"], env["CERT_PEM"])
vault = "https://" + env["VAULT_HOST"]
nowhere = "00000000-0000-4000-8000-000000000000"


@step("msal")
def _():
    app = msal.ConfidentialClientApplication(
        env["CLIENT_ID"], authority=f"https://login.microsoftonline.com/{env['TENANT_ID']}", client_credential=env["CLIENT_SECRET"]
    )
    answer = app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
    must("access_token" in answer, answer)


@step("vault")
def _():
    read = CertificateClient(vault, credential).get_certificate(env["CERT_NAME"])
    must(read.id.startswith(vault + "/"), read.id)


logs = LogsQueryClient(credential)


@step("query a workspace")
def _():
    answer = logs.query_workspace(env["LOGS_WORKSPACE_ID"], env["LOGS_QUERY"], timespan=timedelta(days=7))
    must(answer.status == LogsQueryStatus.SUCCESS, answer.status)
    table = answer.tables[0]
    must(table.columns[0] == "TimeGenerated" and len(table.rows) == 10, answer)
    times = [row["TimeGenerated"] for row in table.rows]
    must(times == sorted(times), times)


@step("a batch of queries")
def _():
    answers = logs.query_batch([
        LogsBatchQuery(workspace_id=workspace, query="AppPageViews | count", timespan=timedelta(days=7))
        for workspace in (env["LOGS_WORKSPACE_ID"], nowhere)
    ])
    must(answers[0].status == LogsQueryStatus.SUCCESS and answers[0].tables[0].rows[0][0] >= 10, answers[0])
    must(answers[1].status == LogsQueryStatus.FAILURE, answers[1])


@step("an unknown workspace")
def _():
    try:
        logs.query_workspace(nowhere, env["LOGS_QUERY"], timespan=timedelta(days=1))
    except HttpResponseError as e:
        must(e.status_code == 404 and "PathNotFoundError" in str(e), e)
        return
    raise AssertionError("it was answered")


end()
