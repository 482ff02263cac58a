#!/bin/sh
# Makes the certificates of the TLS tests anew: an authority, a server and a client of it, an
# expired server, an authority that nobody trusts with a client of it, a self-signed server.
# They are good for a hundred years; the keys protect nothing.
set -eu
cd "$(dirname "$0")"
new_key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
authority() {
    new_key "$1"
    openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 36500 -out "$1.pem"
}
# name authority extensions [options]
signed() {
    name=$1 authority=$2 extensions=$3
    shift 3
    new_key "$name"
    openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
    printf '%s\n' "$extensions" >"$name.ext"
    openssl x509 -req -in "$name.csr" -CA "$authority.pem" -CAkey "$authority.key" \
        -CAcreateserial -extfile "$name.ext" -out "$name.pem" "$@"
    rm "$name.csr" "$name.ext"
}
names='subjectAltName=DNS:localhost,DNS:sip.example,IP:127.0.0.1,IP:::1'
authority ca
authority other-ca
signed server ca "$names" -days 36500
signed client ca 'subjectAltName=DNS:pbx.example' -days 36500
signed stranger other-ca 'subjectAltName=DNS:pbx.example' -days 36500

# `x509` of OpenSSL 3.0 has no dates of its own.
new_key expired
openssl req -new -key expired.key -subj /CN=expired -out expired.csr
mkdir folder
: >folder/index
cat >folder/conf <<END
[ca]
default_ca = one
[one]
database = folder/index
new_certs_dir = folder
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
$names
END
openssl ca -batch -config folder/conf -cert ca.pem -keyfile ca.key -in expired.csr -notext \
    -startdate 20200101000000Z -enddate 20200102000000Z -out expired.pem
rm -r folder expired.csr

new_key self-signed
openssl req -x509 -new -key self-signed.key -subj /CN=lab -addext "$names" -days 36500 \
    -out self-signed.pem
rm -f ./*.srl ca.key other-ca.key
