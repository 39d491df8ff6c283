// Signs, verifies and lists with notation's own library, since its command cannot be had as a Go module.
//
//	notation sign REFERENCE KEY.pem CHAIN.pem jws|cose
//	notation verify REFERENCE ROOT.pem
//	notation list REFERENCE
//
// NOTATION_USERNAME and NOTATION_PASSWORD sign in. References are HOST/REPOSITORY@DIGEST, over HTTP.
package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

type roots []*x509.Certificate

func (r roots) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return r, nil
}

func certificates(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		found = append(found, certificate)
	}
	return found, nil
}

func sign(ctx context.Context, repository notationregistry.Repository, reference string, args []string) error {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	chain, err := certificates(args[1])
	if err != nil {
		return err
	}
	made, err := signer.NewGenericSigner(key.(crypto.PrivateKey), chain)
	if err != nil {
		return err
	}
	envelope := map[string]string{"jws": jws.MediaTypeEnvelope, "cose": cose.MediaTypeEnvelope}[args[2]]
	options := notation.SignOptions{
		SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: envelope},
		ArtifactReference: reference,
	}
	_, err = notation.Sign(ctx, made, repository, options)
	return err
}

func verify(ctx context.Context, repository notationregistry.Repository, reference string, args []string) error {
	trusted, err := certificates(args[0])
	if err != nil {
		return err
	}
	policy := &trustpolicy.Document{
		Version: "1.0",
		TrustPolicies: []trustpolicy.TrustPolicy{{
			Name:                  "all",
			RegistryScopes:        []string{"*"},
			SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: "strict", Override: map[trustpolicy.ValidationType]trustpolicy.ValidationAction{"revocation": "skip"}},
			TrustStores:           []string{"ca:roots"},
			TrustedIdentities:     []string{"*"},
		}},
	}
	made, err := verifier.New(policy, roots(trusted), nil)
	if err != nil {
		return err
	}
	options := notation.VerifyOptions{ArtifactReference: reference, MaxSignatureAttempts: 50}
	_, _, err = notation.Verify(ctx, made, repository, options)
	return err
}

func list(ctx context.Context, repository notationregistry.Repository, reference string) error {
	subject, err := repository.Resolve(ctx, reference)
	if err != nil {
		return err
	}
	return repository.ListSignatures(ctx, subject, func(signatures []ocispec.Descriptor) error {
		for _, signature := range signatures {
			fmt.Println(signature.Digest)
		}
		return nil
	})
}

func run() error {
	ctx := context.Background()
	command, reference, rest := os.Args[1], os.Args[2], os.Args[3:]
	there, err := remote.NewRepository(reference)
	if err != nil {
		return err
	}
	there.PlainHTTP = true
	login := auth.Credential{Username: os.Getenv("NOTATION_USERNAME"), Password: os.Getenv("NOTATION_PASSWORD")}
	there.Client = &auth.Client{Credential: auth.StaticCredential(there.Reference.Registry, login)}
	repository := notationregistry.NewRepository(there)
	switch command {
	case "sign":
		return sign(ctx, repository, reference, rest)
	case "verify":
		return verify(ctx, repository, reference, rest)
	}
	return list(ctx, repository, there.Reference.Reference)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
