// go-oidc as a resource server and x/oauth2 as a client of an issuer.
package main

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	issuer, id, secret, port := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	audience := "http://127.0.0.1:" + port + "/mcp"
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		log.Fatal(err)
	}
	var accessToken string
	if len(os.Args) > 5 {
		accessToken = os.Args[5]
	} else {
		accessToken = ask(ctx, provider, id, secret, audience)
	}
	verifier := provider.VerifierContext(ctx, &oidc.Config{ClientID: audience})
	if _, err := verifier.Verify(ctx, accessToken); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the token is valid")
}

func ask(ctx context.Context, provider *oidc.Provider, id, secret, audience string) string {
	// Without an AuthStyle: x/oauth2 finds out which method of authentication works.
	client := clientcredentials.Config{
		ClientID:       id,
		ClientSecret:   secret,
		TokenURL:       provider.Endpoint().TokenURL,
		EndpointParams: url.Values{"resource": {audience}},
	}
	token, err := client.Token(ctx)
	if err != nil {
		log.Fatal(err)
	}
	return token.AccessToken
}
