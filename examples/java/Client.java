// Gets an access token (RFC 6749 section 4.4) and calls an API with it (RFC 6750), twice.

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import static java.nio.charset.StandardCharsets.UTF_8;

public class Client {
    static final HttpClient HTTP = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .connectTimeout(Duration.ofSeconds(5))
            .build();
    static final Duration TIMEOUT = Duration.ofSeconds(10);

    /** Keeps one token and gets the next one 30 s before it expires. */
    static class TokenSource {
        private final String authorization;
        private final String form;
        private String token;
        private Instant renewAt;

        TokenSource(String id, String secret, String scope) {
            // Id and secret are form-encoded before Basic encodes them (RFC 6749 section 2.3.1).
            String pair = encode(id) + ":" + encode(secret);
            authorization = "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(UTF_8));
            form = "grant_type=client_credentials&scope=" + encode(scope);
        }

        synchronized String get() throws IOException, InterruptedException {
            if (token == null || Instant.now().isAfter(renewAt)) {
                HttpRequest request = HttpRequest.newBuilder(URI.create(setting("MINTAGE_URL", "http://127.0.0.1:8080") + "/token"))
                        .timeout(TIMEOUT)
                        .header("Authorization", authorization)
                        .header("Content-Type", "application/x-www-form-urlencoded")
                        .POST(BodyPublishers.ofString(form))
                        .build();
                HttpResponse<String> response = HTTP.send(request, BodyHandlers.ofString());
                if (response.statusCode() != 200) {
                    throw new IOException("/token answered " + response.statusCode() + ": " + response.body());
                }
                token = member(response.body(), "\"access_token\":\"([^\"]+)\"");
                long seconds = Long.parseLong(member(response.body(), "\"expires_in\":(\\d+)"));
                renewAt = Instant.now().plusSeconds(seconds - 30);
            }
            return token;
        }

        synchronized void forget() {
            token = null;
        }
    }

    /** The standard library has no JSON parser; in a project of your own, use one. */
    static String member(String json, String pattern) throws IOException {
        Matcher matcher = Pattern.compile(pattern).matcher(json);
        if (!matcher.find()) {
            throw new IOException("not a token response: " + json);
        }
        return matcher.group(1);
    }

    static String getOrder(TokenSource tokens, int number) throws IOException, InterruptedException {
        for (int attempt = 1; ; attempt++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(setting("API_URL", "http://127.0.0.1:9090") + "/orders/" + number))
                    .timeout(TIMEOUT)
                    .header("Authorization", "Bearer " + tokens.get())
                    .build();
            HttpResponse<String> response = HTTP.send(request, BodyHandlers.ofString());
            if (response.statusCode() == 200) {
                return response.body();
            }
            if (response.statusCode() != 401 || attempt > 1) {
                throw new IOException("the API answered " + response.statusCode() + ": " + response.body());
            }
            // The token may have been revoked: one more try with a new one.
            tokens.forget();
        }
    }

    static String encode(String text) {
        return URLEncoder.encode(text, UTF_8);
    }

    static String setting(String name, String otherwise) {
        String value = System.getenv().getOrDefault(name, otherwise);
        if (value == null) {
            System.err.println("set " + name);
            System.exit(1);
        }
        return value;
    }

    public static void main(String[] arguments) throws InterruptedException {
        TokenSource tokens = new TokenSource(setting("CLIENT_ID", null), setting("CLIENT_SECRET", null), "orders:read");
        try {
            for (int call = 0; call < 2; call++) {
                System.out.println(getOrder(tokens, 1));
            }
        } catch (IOException error) {
            System.err.println("request failed: " + error.getMessage());
            System.exit(1);
        }
    }
}
