"""Queries logs with azure.monitor.query."""
from datetime import timedelta

from azure.core.exceptions import HttpResponseError
from azure.identity import CertificateCredential
from azure.monitor.query import LogsBatchQuery, LogsQueryClient, LogsQueryStatus

from step import end, env, must, step

credential = CertificateCredential(
    env["TENANT_ID"], env["CLIENT_ID"], env["CERT_PEM"], authority=env["AUTHORITY_HOST"], instance_discovery=False
)
# This version asks for a token for the endpoint that it is given, so the test
# gives it the real one through the proxy.
client = LogsQueryClient(credential)


@step("query a workspace")
def _():
    answer = client.query_workspace(env["LOGS_WORKSPACE_ID"], env["LOGS_QUERY"], timespan=timedelta(days=7))
    must(answer.status == LogsQueryStatus.SUCCESS, answer.status)
    table = answer.tables[0]
    must(table.columns[0] == "TimeGenerated" and len(table.rows) == 10, answer)
    times = [row["TimeGenerated"] for row in table.rows]
    must(times == sorted(times), times)


@step("a batch")
def _():
    query = LogsBatchQuery(workspace_id=env["LOGS_WORKSPACE_ID"], query="AppPageViews | count", timespan=timedelta(days=7))
    other = LogsBatchQuery(workspace_id="00000000-0000-4000-8000-000000000000", query="AppPageViews | count", timespan=timedelta(days=7))
    answers = client.query_batch([query, other])
    must(answers[0].status == LogsQueryStatus.SUCCESS and answers[0].tables[0].rows[0][0] >= 10, answers[0])
    must(answers[1].status == LogsQueryStatus.FAILURE, answers[1])


@step("an unknown workspace")
def _():
    try:
        client.query_workspace("00000000-0000-4000-8000-000000000000", env["LOGS_QUERY"], timespan=timedelta(days=7))
    except HttpResponseError as e:
        must(e.status_code == 404 and "PathNotFoundError" in str(e), e)
        return
    raise AssertionError("it was answered")


end()
