// Nimbus JOSE + JWT as a resource server.

import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.net.URI;
import java.util.Set;

class Nimbus {
    public static void main(String[] arguments) throws Exception {
        String issuer = arguments[0];
        String audience = arguments[3];
        String token = arguments[4];
        var claims = processor(issuer, audience).process(token, null);
        if (!arguments[1].equals(claims.getStringClaim("client_id"))) {
            throw new IllegalStateException("another client's token");
        }
        System.out.println("the token is valid");
    }

    /** As docs/resource-servers.md shows it. */
    private static DefaultJWTProcessor<SecurityContext> processor(String issuer, String audience) throws Exception {
        JWKSource<SecurityContext> keys =
            JWKSourceBuilder.create(URI.create(issuer + "/.well-known/jwks.json").toURL()).retrying(true).build();
        var processor = new DefaultJWTProcessor<SecurityContext>();
        processor.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("at+jwt")));
        processor.setJWSKeySelector(new JWSVerificationKeySelector<>(JWSAlgorithm.ES256, keys));
        processor.setJWTClaimsSetVerifier(new DefaultJWTClaimsVerifier<>(
            audience,
            new JWTClaimsSet.Builder().issuer(issuer).build(),
            Set.of("sub", "exp", "client_id", "scope")));
        return processor;
    }
}
