// An API that asks Mintage about each token (RFC 7662) before it answers.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const scope = "orders:read"

var client = &http.Client{Timeout: 5 * time.Second}

type introspection struct {
	Active   bool   `json:"active"`
	Scope    string `json:"scope"`
	ClientID string `json:"client_id"`
}

// introspect returns what Mintage says of a token, or an error when Mintage cannot answer.
func introspect(token string) (introspection, error) {
	var answer introspection
	form := url.Values{"token": {token}}
	request, err := http.NewRequest(http.MethodPost, setting("MINTAGE_URL", "http://127.0.0.1:8080")+"/introspect",
		strings.NewReader(form.Encode()))
	if err != nil {
		return answer, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(setting("API_CLIENT_ID", "")), url.QueryEscape(setting("API_CLIENT_SECRET", "")))
	response, err := client.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("/introspect answered %s", response.Status)
	}
	err = json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer)
	return answer, err
}

func orders(writer http.ResponseWriter, request *http.Request) {
	scheme, token, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		deny(writer, http.StatusUnauthorized, "Bearer")
		return
	}
	told, err := introspect(token)
	switch {
	case err != nil:
		log.Print(err)
		// Unknown, which does not mean "inactive".
		writer.Header().Set("Retry-After", "1")
		answer(writer, http.StatusServiceUnavailable, map[string]string{"error": "temporarily_unavailable"})
	case !told.Active:
		deny(writer, http.StatusUnauthorized, `Bearer error="invalid_token"`)
	case !strings.Contains(" "+told.Scope+" ", " "+scope+" "):
		deny(writer, http.StatusForbidden, `Bearer error="insufficient_scope", scope="`+scope+`"`)
	default:
		number := strings.TrimPrefix(request.URL.Path, "/orders/")
		answer(writer, http.StatusOK, map[string]string{"order": number, "read_by": told.ClientID})
	}
}

func deny(writer http.ResponseWriter, status int, challenge string) {
	writer.Header().Set("WWW-Authenticate", challenge)
	answer(writer, status, map[string]string{"error": "access_denied"})
}

func answer(writer http.ResponseWriter, status int, document map[string]string) {
	body, err := json.Marshal(document)
	if err != nil {
		log.Fatal(err)
	}
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	writer.Write(body)
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	if otherwise == "" {
		log.Fatalf("set %s", name)
	}
	return otherwise
}

func main() {
	log.SetFlags(0)
	setting("API_CLIENT_ID", "")
	setting("API_CLIENT_SECRET", "")
	listener, err := net.Listen("tcp", "127.0.0.1:"+setting("API_PORT", "9090"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("/orders/", orders)
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}
