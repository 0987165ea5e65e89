// zitadel/oidc as a resource server that introspects, from the issuer alone.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/client/rs"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

func main() {
	issuer, id, secret, audience, token := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	ctx := context.Background()
	server, err := rs.NewResourceServerClientCredentials(ctx, issuer, id, secret)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := rs.Introspect[*oidc.IntrospectionResponse](ctx, server, token)
	if err != nil {
		log.Fatal(err)
	}
	if !answer.Active {
		log.Fatalf("Active: %v", answer.Active)
	}
	// The server answers for the audiences that this API serves; one that serves several tells them apart.
	if !slices.Contains(answer.Audience, audience) {
		log.Fatal("the token is for another API")
	}
	fmt.Println("the token is valid")
}
