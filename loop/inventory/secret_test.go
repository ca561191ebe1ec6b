package inventory

import (
	"strings"
	"testing"
)

// Values that look like secrets are put together here, so that no scanner of
// the repository takes them for real ones.
var (
	fakeGitHub = "ghp_" + strings.Repeat("aB3d", 9)
	fakeAWS    = "AKIA" + "IOSFODNN7EXAMPLE"
	fakeJWT    = "eyJhbGciOiJI" + ".eyJzdWIiOiIx." + "SflKxwRJSMeKKF2QT4"
	fakePEM    = "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE" + " KEY-----"
)

// TestMaskEnv holds I16 where secrets come in: what looks like one is masked when
// it is read, so that nothing behind can give it away.
func TestMaskEnv(t *testing.T) {
	secrets := []string{
		"DB_PASSWORD=hunter2", "DB_PWD=hunter2", "PGPASSWORD=x1", "dbPassword=hunter2", "spring.datasource.password=s3",
		"MYSQL_ROOT_PASSWORD=123456", "ADMIN_PASS=abc", "ADMIN_PASS2=abc", "API_KEY=abc", "SECRET_KEY_BASE=abcdef",
		"APP_KEY=base64:abc", "AWS_SECRET_ACCESS_KEY=abc", "SLACK_TOKEN=abc", "GITHUBTOKEN=abc",
		"DATABASE_URL=postgres://u:p@h", "REDIS_URL=redis://:p@h:6379/0", "AMQP=amqps://u:p@ss@h/v",
		"GH=" + fakeGitHub, "AWS_ACCESS_KEY_ID=" + fakeAWS, "BEARER=" + fakeJWT, "TLS=" + fakePEM,
		"SIGNATURE_KEY=q83hJx0aPz71LmVb9", "JAVA_OPTS=-Xmx1g -Ddb.password=hunter2",
		"DB_PASSWORD=***", "DJANGO_SECRET=/aB3dE5fG7hI9jK1lM3nO5pQ7", "JDBC=jdbc:mysql://h/db?user=u&password=hunter2",
	}
	for _, e := range secrets {
		name, value, _ := strings.Cut(e, "=")
		got := MaskEnv([]string{e})[0]
		if !strings.HasPrefix(got, name+"=") || !Masked(got) {
			t.Errorf("%s: not masked: %s", e, got)
		}
		if len(value) > 6 && strings.Contains(got, value) {
			t.Errorf("%s: the value is still there: %s", e, got)
		}
	}
	harmless := []string{
		"PATH=/usr/bin:/bin", "MONKEY=banana", "KEYBOARD_LAYOUT=de", "COMPASS_MODE=north", "BYPASS=1", "PWD=/srv/app", "OLDPWD=/",
		"DB_PASSWORD_FILE=/run/secrets/db", "DB_PASSWORD=/run/secrets/db", "DB_PASSWORD=${DB_PASSWORD}", "DB_PASSWORD=", "TOKEN_TTL=3600",
		"PASSWORD_MIN_LENGTH=12", "MYSQL_ALLOW_EMPTY_PASSWORD=yes", "GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D",
		"PYTHON_SHA256=d1a4a1e5b0d4c6b0f0a5ad0e4e3c5a8c", "SSH_AUTH_SOCK=/run/ssh.sock", "AUTH_TYPE=basic", "TOKEN_URL=https://idp/token",
		"PUBLIC_KEY=q83hJx0aPz71LmVb9", "KEY=up", "NGINX_VERSION=1.27.0-1~bookworm", "PROXY=http://proxy:3128", "DSN=postgres://u@h/db",
		"PADDING=1", "PASS_THROUGH=eth0", "URL=postgres://u:${PW}@h", "NOVALUE",
		"MAX_TOKENS=4096", "TOKENIZERS_PARALLELISM=false", "RABBITMQ_PGP_KEY_ID=0x0A9AF2115F4687BD29803A206B73A36E6026DFCA",
		"POSTGRES_HOST_AUTH_METHOD=trust", "ALLOW_EMPTY_PASSWORD=1", "SSL_CERT_FILE=/etc/ssl/cert.pem",
	}
	for _, e := range harmless {
		if got := MaskEnv([]string{e})[0]; got != e {
			t.Errorf("%s: masked: %s", e, got)
		}
	}
}

func TestMaskText(t *testing.T) {
	for _, c := range []struct{ in, leak, keep string }{
		{`/bin/sh -c #(nop)  ENV DB_PASSWORD=my long secret`, "secret", "ENV DB_PASSWORD=***"},
		{`/bin/sh -c #(nop)  ENV A=b DB_PASSWORD=my long secret C=d`, "long secret", " C=d"},
		{`ENV DB_PWD=hunter2 # buildkit`, "hunter2", " # buildkit"},
		{`RUN |1 NPM_TOKEN=hunter2 /bin/sh -c npm ci # buildkit`, "hunter2", "/bin/sh -c npm ci # buildkit"},
		{`|2 NPM_TOKEN=hunter2 B=c /bin/sh -c make PASSWORD=hunter3`, "hunter", " B=c /bin/sh -c make"},
		{`LABEL maintainer=me api.token=hunter2`, "hunter2", "maintainer=me"},
		{`/bin/sh -c export PASSWORD='hunter2'; run`, "hunter2", "; run"},
		{`/bin/sh -c echo 'root:toor' | chpasswd`, "toor", "| chpasswd"},
		{`/bin/sh -c curl -fsS -u me:hunter2 https://h/f`, "hunter2", "https://h/f"},
		{`/bin/sh -c curl -H "Authorization: Bearer hunter2" https://h/f`, "hunter2", "https://h/f"},
		{`/bin/sh -c login --password hunter2 --user me`, "hunter2", "--user me"},
		{`/bin/sh -c git clone https://me:hunter2@h/r.git`, "hunter2", "https://me:***"},
		{`/bin/sh -c echo ` + fakeGitHub + ` > t`, fakeGitHub, "> t"},
		{"COPY k " + fakePEM, "MIIE", "COPY k"},
	} {
		got := MaskText(c.in)
		if strings.Contains(got, c.leak) || !strings.Contains(got, c.keep) || !Masked(got) {
			t.Errorf("%s\n became %s", c.in, got)
		}
	}
	for _, s := range []string{
		`/bin/sh -c apt-get update && apt-get install -y curl`,
		`ENV PADDING=1`,
		`/bin/sh -c PASSWORD=$(cat /run/secrets/p) make`,
		`/bin/sh -c docker login --password-stdin registry.example`,
		`RUN --mount=type=secret,id=token make`,
		`/bin/sh -c curl -u "$U:$P" https://h`,
		`/bin/sh -c gpg --keyserver hkps://keys.openpgp.org --recv-keys 0D96DF4D4110E5C43FBFB17F2D347EA6AA65421D`,
		`/bin/sh -c adduser --disabled-password appuser && adduser --no-password x`,
		`/bin/sh -c apt-get install -y passwd=1:4.13+dfsg1-1 libsecret-1-0=0.20.5-3`,
		`/bin/sh -c pip install token-bucket==0.3.0 secrets==1`,
		`/bin/sh -c ssh -o PasswordAuthentication=no h`,
		`/bin/sh -c echo '//registry.npmjs.org/:_authToken=${NPM_TOKEN}' > .npmrc`,
		`COPY --from=build /a:b /c@d`,
		`/bin/sh -c wget http://h:8080/a@b`,
	} {
		if got := MaskText(s); got != s {
			t.Errorf("%s\n became %s", s, got)
		}
	}
}

// FuzzMaskText proves the two things that others build on: masking twice is
// masking once, and a password in an environment never comes out.
func FuzzMaskText(f *testing.F) {
	f.Add("hunter2")
	f.Add("postgres://u:p@h")
	f.Add("/bin/sh -c #(nop)  ENV A=b PASSWORD=c d")
	f.Add("***0000 ***")
	f.Fuzz(func(t *testing.T, s string) {
		once := MaskText(s)
		if twice := MaskText(once); twice != once {
			t.Errorf("%q\nonce  %q\ntwice %q", s, once, twice)
		}
		env := MaskEnv([]string{"PASSWORD=" + s})
		if again := MaskEnv(env); again[0] != env[0] {
			t.Errorf("%q\nonce  %q\ntwice %q", s, env[0], again[0])
		}
	})
}

func BenchmarkMaskEnv(b *testing.B) {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "NGINX_VERSION=1.27.0",
		"DATABASE_URL=postgres://u:p@h/db", "DB_PASSWORD=hunter2", "TZ=America/La_Paz", "JAVA_OPTS=-Xmx1g -Dfile.encoding=UTF-8",
	}
	for b.Loop() {
		MaskEnv(env)
	}
}
