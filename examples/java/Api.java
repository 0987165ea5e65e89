// An API that asks Mintage about each token (RFC 7662) before it answers.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import static java.nio.charset.StandardCharsets.UTF_8;

public class Api {
    static final String SCOPE = "orders:read";
    static final HttpClient HTTP = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .connectTimeout(Duration.ofSeconds(5))
            .build();

    /** What Mintage says of a token; throws when Mintage cannot answer. */
    static String introspect(String token) throws IOException, InterruptedException {
        String pair = encode(setting("API_CLIENT_ID", null)) + ":" + encode(setting("API_CLIENT_SECRET", null));
        HttpRequest request = HttpRequest.newBuilder(URI.create(setting("MINTAGE_URL", "http://127.0.0.1:8080") + "/introspect"))
                .timeout(Duration.ofSeconds(5))
                .header("Authorization", "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(UTF_8)))
                .header("Content-Type", "application/x-www-form-urlencoded")
                .POST(BodyPublishers.ofString("token=" + encode(token)))
                .build();
        HttpResponse<String> response = HTTP.send(request, BodyHandlers.ofString());
        if (response.statusCode() != 200) {
            throw new IOException("/introspect answered " + response.statusCode());
        }
        return response.body();
    }

    static void orders(HttpExchange exchange) throws IOException {
        String header = exchange.getRequestHeaders().getFirst("Authorization");
        String[] parts = header == null ? new String[0] : header.split(" ", 2);
        if (parts.length != 2 || !parts[0].equalsIgnoreCase("bearer")) {
            deny(exchange, 401, "Bearer");
            return;
        }
        String told;
        try {
            told = introspect(parts[1]);
        } catch (IOException | InterruptedException error) {
            System.err.println("introspection failed: " + error.getMessage());
            // Unknown, which does not mean "inactive".
            exchange.getResponseHeaders().set("Retry-After", "1");
            answer(exchange, 503, "{\"error\":\"temporarily_unavailable\"}");
            return;
        }
        if (!told.contains("\"active\":true")) {
            deny(exchange, 401, "Bearer error=\"invalid_token\"");
        } else if (!Arrays.asList(member(told, "scope").split(" ")).contains(SCOPE)) {
            deny(exchange, 403, "Bearer error=\"insufficient_scope\", scope=\"" + SCOPE + "\"");
        } else {
            String number = exchange.getRequestURI().getPath().substring("/orders/".length());
            if (!number.matches("\\d+")) {
                answer(exchange, 404, "{\"error\":\"not_found\"}");
                return;
            }
            answer(exchange, 200, "{\"order\":\"" + number + "\",\"read_by\":\"" + member(told, "client_id") + "\"}");
        }
    }

    /** The standard library has no JSON parser; in a project of your own, use one. */
    static String member(String json, String name) {
        Matcher matcher = Pattern.compile("\"" + name + "\":\"([^\"\\\\]*)\"").matcher(json);
        return matcher.find() ? matcher.group(1) : "";
    }

    static void deny(HttpExchange exchange, int status, String challenge) throws IOException {
        exchange.getResponseHeaders().set("WWW-Authenticate", challenge);
        answer(exchange, status, "{\"error\":\"access_denied\"}");
    }

    static void answer(HttpExchange exchange, int status, String document) throws IOException {
        byte[] body = document.getBytes(UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, body.length);
        try (exchange) {
            exchange.getResponseBody().write(body);
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

    public static void main(String[] arguments) throws IOException {
        setting("API_CLIENT_ID", null);
        setting("API_CLIENT_SECRET", null);
        int port = Integer.parseInt(setting("API_PORT", "9090"));
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.createContext("/orders/", Api::orders);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
        System.out.println("listening on http://127.0.0.1:" + server.getAddress().getPort());
    }
}
