// Gets an access token (RFC 6749 section 4.4) and calls an API with it (RFC 6750), twice.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

var client = &http.Client{Timeout: 10 * time.Second}

// tokenSource keeps one token and gets the next one 30 s before it expires.
type tokenSource struct {
	id, secret, scope string

	mutex   sync.Mutex
	token   string
	renewAt time.Time
}

func (source *tokenSource) get() (string, error) {
	source.mutex.Lock()
	defer source.mutex.Unlock()
	if source.token != "" && time.Now().Before(source.renewAt) {
		return source.token, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {source.scope}}
	request, err := http.NewRequest(http.MethodPost, setting("MINTAGE_URL", "http://127.0.0.1:8080")+"/token",
		strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// Id and secret are form-encoded before Basic encodes them (RFC 6749 section 2.3.1).
	request.SetBasicAuth(url.QueryEscape(source.id), url.QueryEscape(source.secret))
	status, body, err := send(request)
	if err != nil {
		return "", err
	}
	if status != http.StatusOK {
		return "", fmt.Errorf("/token answered %d: %s", status, body)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", err
	}
	source.token = answer.AccessToken
	source.renewAt = time.Now().Add(time.Duration(answer.ExpiresIn-30) * time.Second)
	return source.token, nil
}

func (source *tokenSource) forget() {
	source.mutex.Lock()
	defer source.mutex.Unlock()
	source.token = ""
}

func getOrder(tokens *tokenSource, number int) (string, error) {
	for try := 1; ; try++ {
		token, err := tokens.get()
		if err != nil {
			return "", err
		}
		address := fmt.Sprintf("%s/orders/%d", setting("API_URL", "http://127.0.0.1:9090"), number)
		request, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		status, body, err := send(request)
		switch {
		case err != nil:
			return "", err
		case status == http.StatusOK:
			return string(body), nil
		case status == http.StatusUnauthorized && try == 1:
			// The token may have been revoked: one more try with a new one.
			tokens.forget()
		default:
			return "", fmt.Errorf("the API answered %d: %s", status, body)
		}
	}
}

func send(request *http.Request) (int, []byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, body, err
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
	tokens := &tokenSource{id: setting("CLIENT_ID", ""), secret: setting("CLIENT_SECRET", ""), scope: "orders:read"}
	for call := 0; call < 2; call++ {
		order, err := getOrder(tokens, 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(order)
	}
}
