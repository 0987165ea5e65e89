// Kafka's OAUTHBEARER: the login of a client and the validator of a broker, without a broker.

import java.util.List;
import java.util.Map;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.login.AppConfigurationEntry.LoginModuleControlFlag;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.internals.BrokerSecurityConfigs;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler;

class Kafka {
    private static final String MECHANISM = "OAUTHBEARER";

    public static void main(String[] arguments) {
        try {
            validate(arguments);
            System.out.println("the token is valid");
            // The thread that refreshes the keys outlives the validator.
            System.exit(0);
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static void validate(String[] arguments) throws Exception {
        String issuer = arguments[0];
        String tokens = issuer + "/token";
        String keys = issuer + "/.well-known/jwks.json";
        System.setProperty("org.apache.kafka.sasl.oauthbearer.allowed.urls", tokens + "," + keys);
        String token = arguments.length > 4 ? arguments[4] : login(tokens, arguments[1], arguments[2]);

        var broker = BrokerSecurityConfigs.CONFIG_DEF.parse(Map.of(
            "sasl.oauthbearer.jwks.endpoint.url", keys,
            "sasl.oauthbearer.expected.issuer", issuer,
            "sasl.oauthbearer.expected.audience", arguments[3]));
        var validator = new OAuthBearerValidatorCallbackHandler();
        validator.configure(broker, MECHANISM, jaas(Map.of()));
        var validation = new OAuthBearerValidatorCallback(token);
        validator.handle(new Callback[] {validation});
        validator.close();
        if (validation.token() == null) {
            throw new IllegalStateException(validation.errorStatus());
        }
        if (!arguments[1].equals(validation.token().principalName())) {
            throw new IllegalStateException("another client's token");
        }
    }

    private static String login(String tokens, String id, String secret) throws Exception {
        var client = new ConfigDef().withClientSaslSupport().parse(Map.of(
            "sasl.oauthbearer.token.endpoint.url", tokens,
            "sasl.oauthbearer.client.credentials.client.id", id,
            "sasl.oauthbearer.client.credentials.client.secret", secret,
            "sasl.oauthbearer.scope", "orders:read"));
        var login = new OAuthBearerLoginCallbackHandler();
        login.configure(client, MECHANISM, jaas(Map.of()));
        var answer = new OAuthBearerTokenCallback();
        login.handle(new Callback[] {answer});
        login.close();
        if (answer.token() == null) {
            throw new IllegalStateException(answer.errorCode() + " " + answer.errorDescription());
        }
        return answer.token().value();
    }

    private static List<AppConfigurationEntry> jaas(Map<String, ?> options) {
        String module = OAuthBearerLoginModule.class.getName();
        return List.of(new AppConfigurationEntry(module, LoginModuleControlFlag.REQUIRED, options));
    }
}
