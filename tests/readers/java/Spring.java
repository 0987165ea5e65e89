// Spring Security as a client and as a resource server, from the issuer alone.

import java.util.Base64;
import java.util.List;
import org.springframework.security.oauth2.client.endpoint.OAuth2ClientCredentialsGrantRequest;
import org.springframework.security.oauth2.client.endpoint.RestClientClientCredentialsTokenResponseClient;
import org.springframework.security.oauth2.client.registration.ClientRegistrations;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtDecoders;
import org.springframework.security.oauth2.jwt.JwtTypeValidator;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;

class Spring {
    public static void main(String[] arguments) {
        String issuer = arguments[0];
        String audience = "http://127.0.0.1:" + arguments[3] + "/mcp";
        String token = arguments.length > 4 ? arguments[4] : ask(issuer, arguments[1], arguments[2], audience);
        JwtDecoder decoder = isOfType("JWT", token) ? JwtDecoders.fromIssuerLocation(issuer) : declared(issuer, audience);
        if (!arguments[1].equals(decoder.decode(token).getSubject())) {
            throw new IllegalStateException("another client's token");
        }
        System.out.println("the token is valid");
    }

    private static String ask(String issuer, String id, String secret, String audience) {
        var registration = ClientRegistrations.fromIssuerLocation(issuer)
            .clientId(id)
            .clientSecret(secret)
            .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
            .build();
        var client = new RestClientClientCredentialsTokenResponseClient();
        client.setParametersCustomizer(parameters -> parameters.add("resource", audience));
        var response = client.getTokenResponse(new OAuth2ClientCredentialsGrantRequest(registration));
        return response.getAccessToken().getTokenValue();
    }

    private static boolean isOfType(String type, String token) {
        String header = new String(Base64.getUrlDecoder().decode(token.substring(0, token.indexOf('.'))));
        return header.contains("\"typ\":\"" + type + "\"");
    }

    /** As docs/resource-servers.md shows it. */
    private static JwtDecoder declared(String issuer, String audience) {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withIssuerLocation(issuer).validateType(false).build();
        decoder.setJwtValidator(new DelegatingOAuth2TokenValidator<>(
            JwtValidators.createDefaultWithIssuer(issuer),
            new JwtTypeValidator(List.of("at+jwt")),
            new JwtClaimValidator<List<String>>("aud", aud -> aud != null && aud.contains(audience))));
        return decoder;
    }
}
