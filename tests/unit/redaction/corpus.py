"""Made-up secrets, assembled at run time so that no scanner takes this file for a leak, and their look-alikes."""

import base64
from typing import Any

ALNUM = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6"
HEX = "0123456789abcdef" * 4
SHORT_HEX = "9fceb02d0ae598e9"
UPPER = "A2B3C4D5E6F7G2H3I4J5"
PW = "hunter" + "2"
BASIC = base64.b64encode(b"bob:" + PW.encode()).decode()
JWT = ".".join(("ey" + "JhbGciOiJIUzI1NiJ9", "ey" + "JzdWIiOiIxMjM0In0", "SflKxwRJSMeKKF2QT4fwpM"))


def pem(kind: str, newline: str = "\n", *, end: bool = True) -> str:
    """A private key's block, or a truncated one."""
    rows = [
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
        "ZmFrZWtleWZha2VrZXlmYWtla2V5ZmFrZWtleQ",
        "c2hvcnQ=",
    ]
    last = ["-----" + f"END {kind}-----"] if end else []
    return newline.join(["-----" + f"BEGIN {kind}-----", *rows, *last])


# (text, what must be gone from it)
TEXTS: list[tuple[str, str]] = [
    # providers
    *(
        (f"before {token} after", token)
        for token in (
            "sk-" + "ant-api03-" + ALNUM, "sk-" + "proj-" + ALNUM, "sk-" + ALNUM[:48], "sk-" + HEX[:32],
            "sk-" + "svcacct-" + ALNUM,
            "sk-" + "or-v1-" + HEX, "sk-" + "lf-" + "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", "AKIA" + UPPER[:16],
            "ASIA" + UPPER[:16],
            *(f"gh{letter}_" + ALNUM[:36] for letter in "pousr"), "github" + "_pat_" + ALNUM[:22] + "_" + ALNUM[:30],
            "glpat" + "-" + ALNUM[:20], "xox" + "b-123456789012-" + ALNUM[:24], "xox" + "p-1234-5678-" + ALNUM[:24],
            "xox" + "a-2-" + ALNUM[:24], "xapp" + "-1-A012-345-" + HEX, "AI" + "za" + ALNUM[:35],
            "ya29" + ".a0" + ALNUM,
            "hf" + "_" + ALNUM[:34], "hf" + "_" + "aBcDeFgHiJ" * 3 + "kLmN", "npm" + "_" + ALNUM[:36],
            "pypi-" + "AgEI" + ALNUM,
            "sk" + "_live_" + ALNUM[:24], "rk" + "_live_" + ALNUM[:24], "sk" + "_test_" + ALNUM[:24],
            "SG" + "." + ALNUM[:22] + "." + ALNUM[:43],
            "gsk" + "_" + ALNUM, "xai" + "-" + ALNUM * 2, "r8" + "_" + ALNUM[:37], "dop" + "_v1_" + HEX,
            "shp" + "at_" + HEX[:32],
            "lin" + "_api_" + ALNUM[:40], "key" + "-" + HEX[:32], "SK" + HEX[:32], "dapi" + HEX[:32],
            "whsec" + "_" + ALNUM,
            "hvs" + "." + ALNUM, "12345678:" + "AA" + ALNUM[:33],
            "AGE-SECRET" + "-KEY-1" + UPPER * 3, JWT, JWT[: JWT.rindex(".")],
            "GOCSPX" + "-" + ALNUM[:28], "tskey" + "-auth-" + ALNUM[:20], "dckr" + "_pat_" + ALNUM[:27],
            "nvapi" + "-" + ALNUM,
            "ATATT3" + ALNUM, "pplx" + "-" + ALNUM[:48], "lsv2" + "_pt_" + HEX[:32] + "_" + HEX[:10],
            "glsa" + "_" + ALNUM[:32] + "_" + HEX[:8],
        )
    ),
    # where a secret may hide from a word boundary
    (r"escaped line end\n" + "gh" + "p_" + ALNUM[:36], ALNUM[:36]),
    (r"line\nsk-" + ALNUM[:48], ALNUM[:48]),
    ("\nsk-" + ALNUM[:48], ALNUM[:48]),
    ("\x1b[32msk-" + ALNUM[:48] + "\x1b[0m", ALNUM[:48]),
    ("q=%20sk-" + ALNUM[:48], ALNUM[:48]),
    ("ключ " + "gh" + "p_" + ALNUM[:36] + " готово", ALNUM[:36]),
    ("\x01AKIA" + UPPER[:16], UPPER[:16]),
    # headers
    (f"Authorization: Bearer {ALNUM}", ALNUM),
    ("Authorization: Bearer " + PW, PW),
    ("authorization: basic " + BASIC, BASIC),
    ("Basic " + BASIC, BASIC),
    ("Proxy-Authorization: token " + ALNUM, ALNUM),
    ("sent bearer\t" + ALNUM, ALNUM),
    ("Authorization: " + ALNUM, ALNUM),
    ('Authorization: Digest username="bob", response=' + HEX[:32], "bob"),
    ('{"Authorization": "Bearer ' + ALNUM + '"}', ALNUM),
    (r'{\"Authorization\":\"Bearer ' + ALNUM + r'\"}', ALNUM),
    ("curl -H 'X-Api-Key: abc' https://x.example", "abc"),
    ('curl -H "X-Api-Key: abcdef" https://x.example', "abcdef"),
    ("curl -H \"Authorization: Bearer " + ALNUM + '"', ALNUM),
    ("Cookie: sid=" + PW + "; theme=dark", PW),
    ("Set-Cookie: a=1; session=" + PW + "; HttpOnly", PW),
    # private keys
    *(
        (f"key:\n{block}\nend", "ZmFrZWtleWZha2VrZXlmYWtla2V5ZmFrZWtleQ")
        for block in (
            pem("PRIVATE KEY"), pem("RSA PRIVATE KEY"), pem("OPENSSH PRIVATE KEY"), pem("EC PRIVATE KEY", "\r\n"),
            pem("PRIVATE KEY", "\\n"), pem("PRIVATE KEY", "\\\\n"), pem("PRIVATE KEY",
            " "), pem("PRIVATE KEY", end=False),
            pem("PRIVATE KEY", "\\n", end=False), pem("PGP PRIVATE KEY BLOCK"),
        )
    ),
    # addresses
    (f"postgres://bob:{PW}@db.example:5432/x", PW),
    (f"git clone https://bob:{PW}@github.example/r.git", PW),
    ("redis://:" + PW + "@cache:6379/0", PW),
    ("mongodb+srv://bob:p@ss" + PW + "@c.example/x", "ss" + PW),
    ("https://hooks.slack" + ".com/services/T000/B000/" + ALNUM[:24], ALNUM[:24]),
    ("https://b.s3.amazonaws.example/k?X-Amz-Signature=" + HEX, HEX),
    # shells
    *(
        (command, PW)
        for command in (
            f"deploy --password={PW}", f"deploy --password {PW}", f"deploy --token {PW}", f"deploy --api-key {PW} now",
            f"deploy --client-secret='{PW}'", f'deploy --client-secret "{PW}"', f"curl -u bob:{PW} https://x.example",
            f"curl -sSu 'bob:{PW}' https://x.example", f"curl https://x.example \\\n  --user bob:{PW}",
            f"PASSWORD={PW} cmd",
            f"export API_KEY={PW}", f"export API_KEY='{PW}'", f'export API_KEY="{PW}" && x', f"MYSQL_PWD={PW} mysql",
            f"PGPASSWORD={PW} psql",
            f"sshpass -p {PW} ssh bob@host", f"sshpass -p'{PW}' ssh bob@host", f"mysql -u bob -p{PW} db",
            f"mysqldump -p'{PW}' db",
            f"redis-cli -a {PW} ping", f"docker login -u bob -p {PW}", f"openssl rsa -passin pass:{PW}",
            f"az --pass {PW}",
            f"DB_PASS={PW}", f"AWS_SECRET_ACCESS_KEY={PW}", f"set GITHUB_TOKEN={PW}", f"-e POSTGRES_PASSWORD={PW}",
            f"--password \\\n {PW}",
        )
    ),
    ("export API_KEY=abc", "abc"),
    ("PASSWORD=swordfish cmd", "swordfish"),
    ("deploy --password swordfish", "swordfish"),
    ("PASSWORD=a,b=c:d", "b=c:d"),
    # names in text
    *(
        (text, PW)
        for text in (
            f'{{"api_key": "{PW}"}}', f'{{"user":"bob","clientSecret":"{PW}"}}', rf"{{\"api_key\": \"{PW}\"}}",
            rf"{{\\\"api_key\\\": \\\"{PW}\\\"}}",
            f"{{'password': '{PW}'}}", f"api_key: {PW}", f"user: bob\n  password: {PW}\nport: 1", f"password = {PW}",
            f'password = "{PW}"',
            f"const apiKey = `{PW}`", f'api_key := "{PW}"', f':password => "{PW}"',
            f'os.environ["API_KEY"] = "{PW}"', f'password: str = "{PW}"',
            f"Server=x;Password={PW};Timeout=3", f"https://x.example/?access_token={PW}&b=1",
            f"the password: {PW}, sorry", f"API key: {PW}",
            f"f(user, password={PW})", rf"A=1\nDB_PASSWORD={PW}\nB=2", rf"x\napi_key={PW}", f"refresh_token={PW}",
            f"aws_session_token = {PW}",
            f"//registry.example/:_authToken={PW}", f"AccountKey={PW}==;EndpointSuffix=x", f"пароль password={PW}ж",
            f'password="a\\"{PW}"',
            rf"{{\"password\":\"a\\\"{PW}\"}}", f"secret_key_base: {PW}",
        )
    ),
    ("git clone https://" + ALNUM[:40] + "@github.com/x/y.git", ALNUM[:40]),
    ("remote: http://" + HEX[:40] + "@git.example/x", HEX[:40]),
    ("machine h.example login me password swordfish", "swordfish"),
    ("machine a login b password c3\n\nmachine h\n\tlogin me\n\taccount x\n\tpassword swordfish\n", "swordfish"),
    ('{"user": "bob", "pin": "1234"}', "1234"), (r'{\"otp\": \"123456\"}', "123456"),
    ('{"user_pin":"swordfish"}', "swordfish"), ("{'bearer': 'swordfish'}", "swordfish"),
    ("token: '" + ALNUM[:10] + "'", ALNUM[:10]), ('{"auth_token": "abc"}', "abc"), ("password: 'else'", "else"),
    ("password: swordfish", "swordfish"),
    ("db:\n  password: swordfish\n  port: 1", "swordfish"),
    ("api_key: abc", "abc"),
    ('"password": 12345678', "12345678"),
]  # fmt: skip

# Whole event data, and what must be gone from its JSON.
EVENTS: list[tuple[dict[str, Any], str]] = [
    *(
        ({key: "swordfish"}, "swordfish")
        for key in (
            "password", "passwd", "secret", "api_key", "apikey", "x-api-key", "apiKey", "APIKey", "API_KEY",
            "authorization",
            "cookie", "set-cookie", "access_token", "refreshToken", "id_token", "clientSecret", "private_key",
            "aws_secret_access_key",
            "session_token", "ssh_key", "credentials", "connection_string", "db.password", "userPassword",
            "PassWord", "PGPASSWORD",
            "MYSQL_PWD", "smtp_pass", "http.request.header.authorization", "OPENAI_API_KEY", "X-Amz-Security-Token",
            "api key", "password2",
            "page_access_token", "current_password", "encryptionKey", "secrets", "dbpassword", "OAuthToken",
            "token_file_token",
            "bearer", "otp", "pin", "PIN", "OTP", "userPin", "user_pin", "card.pin", "pin_code", "pinCode", "MyPINCode",
            "otp2", "otp_value", "X-OTP", "api_bearer",
        )
    ),
    ({"args": [{"deep": {"password": "swordfish"}}]}, "swordfish"),
    ({"credentials": {"user": "bob", "pin": "swordfish"}}, "swordfish"),
    ({"tokens": {"access_token": "swordfish"}}, "swordfish"),
    ({"cookies": ["swordfish"]}, "swordfish"),
    ({"password": 87654321}, "87654321"),
    *(({"token": token}, token) for token in (ALNUM[:10], SHORT_HEX, ALNUM, JWT, "gh" + "p_" + ALNUM[:36], "7" * 12,
      "123e4567-e89b-12d3-a456-426614174000", BASIC)),
    ({"token": {"type": "opaque", "issued": SHORT_HEX}}, SHORT_HEX),
    ({"Token": [" the", ALNUM[:12]]}, ALNUM[:12]),
    ({"auth_token": {"type": "string", "default": "swordfish"}}, "swordfish"),
    ({"argv": ["tool", "--password", "swordfish"]}, "swordfish"),
    ({"argv": ["tool", "--api-key", "swordfish", "x"]}, "swordfish"),
    ({"argv": ["tool", "--client-secret=swordfish"]}, "swordfish"),
    ({"argv": ["/usr/bin/curl", "-u", "bob:swordfish", "http://x"]}, "swordfish"),
    ({"argv": ["sshpass", "-p", "swordfish", "ssh", "h"]}, "swordfish"),
    ({"argv": ["mysql", "-uroot", "-pswordfish"]}, "swordfish"),
    ({"argv": ["docker", "login", "-u", "me", "-p", "swordfish", "registry.example"]}, "swordfish"),
    ({"argv": ["bash", "-c", "PASSWORD=swordfish make"]}, "swordfish"),
    ({"argv": ["curl", "-H", "Authorization: Bearer " + ALNUM]}, ALNUM),
    ({"env": [{"name": "API_KEY", "value": "swordfish"}]}, "swordfish"),
    ({"env": ["API_KEY=swordfish"]}, "swordfish"),
    ({"headers": [["X-Api-Key", PW]]}, PW),
    ({"arguments": '{"user": "bob", "password": "swordfish"}'}, "swordfish"),
    ({"gh" + "p_" + ALNUM[:36]: 1}, ALNUM[:36]),
    ({"x": {"y": ["\u2028\t\n\"\\", "a\npassword: swordfish\n"]}}, "swordfish"),
]  # fmt: skip

# Nothing here may change.
LOOKALIKE_TEXTS: list[str] = [
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "sha256:" + HEX, "123e4567-e89b-12d3-a456-426614174000",
    "task-based and risk-averse",
    "disk-usage-of-the-whole-machine-and-more", "flask-sqlalchemy-extension-for-everyone", "the token count is 5",
    "the bearer of bad news",
    "bearer authentication is required", "Basic authentication is off", "Basic understanding of English",
    "enter your password:",
    "enter your password: ", "Password:", "password: \n", "http://host:8080/path",
    "https://cdn.example:443/npm/@scope/pkg@1.2.3", "user@host",
    "mail bob@example.org now", "scp bob@host:/tmp/x .", "git@github.com:org/repo.git", "run --token-limit 100",
    "run --max-tokens 4096", "run --max-tokens=4096",
    "PASSWORD_FILE=/run/secrets/pw", "--password-file /run/secrets/pw", "echo $PASSWORD", "--password $PASSWORD",
    "--password=${PASSWORD}",
    "export API_KEY=$OTHER", 'curl -H "Authorization: Bearer $TOKEN"', "Authorization: Bearer <token>",
    "Authorization: required", "password=****",
    'password = os.environ["DB_PASSWORD"]', "token = get_token()", "client = Client(api_key=settings.api_key)",
    "client = Client(api_key=response.key)",
    "def f(password: str) -> None:",
    "f(password=password, token=token)", "password: Optional[str] = None", "token: string;",
    "const token = req.headers.authorization",
    "if not token: raise Error", "Unexpected token: line 12", "tokens: 512", "input_tokens=12 output_tokens=30",
    '{"prompt_tokens": 12, "total_tokens": 40}',
    '{"token_type": "bearer", "expires_in": 3600}', "author: Bob Smith", "authority=example.org", "secretary: Ann",
    "passenger=Bob", "monkey: x1y2z3w4",
    "keyboard = qwerty12", "public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0B\n-----END PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0B\n-----END CERTIFICATE-----",
    "data:image/png;base64," + "iVBORw0KGgo" + ALNUM * 20,
    "the secret of success: work", "no secrets were found", "Token: the smallest unit of text",
    "cookies are enabled", "cookie: a small file kept by a browser",
    "docker run -u 1000:1000 -p 8080:80 image", "mysql -P 3306 -h host", "git diff HEAD~1 -- src/auth/token.py",
    "src/secret.py:12: unused variable", "tests/test_password.py::test_x PASSED",
    "pip install sk-learn-contrib-extension-package", "usage: x [--token TOKEN] [--password PASSWORD]",
    "  --token string   the token to use",
    "use the --password flag", "pass --token to authenticate", "process.env.API_KEY", "${{ secrets.GITHUB_TOKEN }}",
    "password: ${DB_PASSWORD}", "token={token}",
    "PWD=/home/bob/project", "OLDPWD=/tmp", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ", "eyJhbGciOi.json", "sk-...",
    "key-value store", "SG.1", "hf_hub_download(repo)",
    "npm_config_registry=https://registry.example", "AKIA is a prefix", "x-request-id: 4f3c2b1a",
    "ETag: 33a64df551425fcc55e4d42a148795d9f25f89d4", "C:\\Users\\bob",
    "mkdir -p src/mysql && mysql --version", "password strength: strong", "https://example.org/reset-password?lang=en",
    '{"type": "object", "properties": {"path": {"type": "string"}}}', "api_key: str", "api_key=None", "secret=None",
    "token == other.token",
    "https://user@host/", "https://ann.lee2024@git.example/x.git", "https://x-access-token@github.com/x/y",
    "https://service-account-builder-2024@dev.azure.example/org", "https://" + ALNUM[:40] + "/x@y",
    "git@github.com:x/y", "ssh://git@github.com/x/y.git", "npm i https://registry.example/@scope/name@1.2.3",
    "password protected area", "the machine has a login page and a password protected area",
    "machine learning login form password field", "machine h login me password <password>",
    '{"pin": 13, "pinned": "yes", "spin": "up"}', "pin: 4", "LED_PIN=13", "pinning: strict", "typing: on",
    "otpauth_supported: true", '{"otp": true}', "the bearer: Bob", "mapping: 'x'",
    # parsers speak of tokens too
    *(f"Unexpected token: '{piece}'" for piece in
      ("}", ")", ",", "]", "=>", "...", "else", "function", "return", "EOF", "42", "x")),
    *(f'SyntaxError: invalid token: "{piece}" at line 3' for piece in ("}", "&&", "if", "yield")),
    r"Unexpected token: \"}\" in JSON", "Unexpected token: }", "Unexpected token: else", "token='}'",
    "token: 'swordfish'", 'data: {"token": " the", "index": 4}',
]  # fmt: skip
LOOKALIKE_EVENTS: list[dict[str, Any]] = [
    *(
        {key: value}
        for value in (5, "x", [1, 2], {"a": 1})
        for key in (
            "prompt_tokens", "completion_tokens", "max_tokens", "input_tokens", "token_count", "tokens",
            "total_tokens", "tokenizer",
            "cache_read_tokens", "author", "authority", "secretary", "passenger", "key", "keyboard", "monkey",
            "public_key", "token_type",
            "password_file", "next_page_token", "pwd", "session_id", "trace_id", "sha", "has_password",
            "token_limit", "secret_name", "access_key_id",
            "publicKey", "tokenUsage", "maxTokens", "passed", "key_id",
        )
    ),
    *({key: "swordfish"} for key in ("pinned", "pinning", "spin", "otpauth_supported", "otp_type", "pin_count",
      "version_pin", "typing", "mapping", "forbearer", "public_pin", "pin_to_version", "Pinned", "pinterest")),
    *({key: value} for key in ("pin", "otp", "bearer") for value in (4, True, None, "", {"type": "http"})),
    # models' tokens
    *({"token": text} for text in (" the", "the", "Hello", " swordfish", "antidisestablishmentarianism",
      "getElementById", " StringBuilder", "sha256", "sha256sum", "utf8", "2024", "\n\n", "...", "-" * 32, "日本",
      "naïve", "https", "://", "</div>", "def __init__(self):", "You said: 12,345.67", "", "<|im_start|>", "▁the")),
    {"token": {"id": 1820, "text": " the", "logprob": -0.5, "special": False}}, {"token": ["Hel", "lo", 5, None]},
    {"logprobs": [{"token": "Hel", "logprob": -0.1, "bytes": [72, 101, 108]}]},
    {"token": 5}, {"token": None}, {"token": True}, {"password": None}, {"password": ""}, {"secret": []},
    {"token": {"input": 5, "output": 6}},
    {"tools": [{"name": "login", "parameters": {"properties": {"password": {"type": "string",
    "description": "the password"}}}}]},
    {"argv": ["tool", "--token-limit", "100", "--password-stdin"]}, {"argv": ["tool", "--password", "$PASSWORD"]},
    {"argv": ["docker", "run", "-u", "1000:1000"]}, {"argv": ["docker", "run", "-p", "eighty:80", "login"]},
    {"columns": ["password", "username"]}, {"name": "Bob", "value": "x"}, {"key": "theme", "value": "dark"},
]  # fmt: skip
