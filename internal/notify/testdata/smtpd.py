"""A mail server for the tests: smtpd.py starttls|implicit|none CERT KEY

It listens on a free port of 127.0.0.1. The first line that it prints is the port;
then one line of JSON for each mail that it takes over, before it says so to the
client. The user is "reeve", the password that of the environment variable
SMTPD_PASSWORD; without it nobody signs in. It ends when its input does.

Recipients say how it behaves: refused@ does not exist, later@ is to be tried again,
hang@ gets no answer, spam@ is refused after the text, gone@ is taken over and the
connection cut before the answer, echo@ is refused with what the client sent to sign in.
"""

import asyncio
import base64
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

PASSWORD = os.environ.get("SMTPD_PASSWORD", "")
taken = {}


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name == "refused":
            return "550 5.1.1 no such user"
        if name == "later":
            return "451 4.3.0 try again later"
        if name == "echo":
            secret = base64.b64encode(f"\0reeve\0{PASSWORD}".encode()).decode()
            return f"550 5.7.1 you said {PASSWORD} and {secret}"
        if name == "hang":
            await asyncio.sleep(3600)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        name = envelope.rcpt_tos[0].split("@")[0]
        if name == "spam":
            return "554 5.7.1 we do not like it"
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "user": session.auth_data or "",
            "content": base64.b64encode(envelope.original_content).decode(),
        }), flush=True)
        if name == "gone" and name not in taken:
            taken[name] = True
            server.transport.abort()
        return "250 taken over"


def authenticate(server, session, envelope, mechanism, data):
    ok = PASSWORD and data.login == b"reeve" and data.password == PASSWORD.encode()
    return AuthResult(success=bool(ok), handled=False, auth_data="reeve" if ok else None)


async def main():
    mode, cert, key = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def session():
        return SMTP(
            Handler(),
            hostname="mail.test",
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=authenticate if PASSWORD else None,
            auth_required=bool(PASSWORD),
            # aiosmtpd knows of no TLS but STARTTLS, and would offer no AUTH under another.
            auth_require_tls=mode == "starttls",
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", 0, ssl=context if mode == "implicit" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
