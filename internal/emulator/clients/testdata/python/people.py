"""Signs a person in with msal, by device code."""
import json
import urllib.request

import msal

from step import end, env, must, step


@step("device code")
def _():
    app = msal.PublicClientApplication(
        env["GRAPH_COMMAND_LINE"], authority=f"{env['AUTHORITY_HOST']}/{env['TENANT_ID']}", instance_discovery=False
    )
    flow = app.initiate_device_flow(["User.Read"])
    must("user_code" in flow, flow)
    # What the person does at the page.
    request = urllib.request.Request(
        f"{env['CONTROL_URL']}/devicecodes/{flow['user_code']}/approve",
        data=json.dumps({"user": env["ADMINISTRATOR"]}).encode(),
        headers={"Authorization": f"Bearer {env['CONTROL_TOKEN']}"},
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()
    answer = app.acquire_token_by_device_flow(flow)
    must("access_token" in answer, answer)
    must(answer["id_token_claims"]["preferred_username"] == env["ADMINISTRATOR"], answer["id_token_claims"])
    again = app.acquire_token_silent(["User.Read"], app.get_accounts()[0], force_refresh=True)
    must(again and again["access_token"] != answer["access_token"], "the token is the old one")


end()
