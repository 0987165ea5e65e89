// Kafka's OAUTHBEARER: the login of a client and the validator of a broker, without a broker.

import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.login.AppConfigurationEntry.LoginModuleControlFlag;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.internals.BrokerSecurityConfigs;
import org.apache.kafka.common.security.JaasContext;
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
        String audience = arguments[3];
        System.setProperty("org.apache.kafka.sasl.oauthbearer.allowed.urls",
            issuer + "/token," + issuer + "/.well-known/jwks.json");
        String token = arguments.length > 4 ? arguments[4] : login(issuer, arguments[1], arguments[2]);

        var broker = BrokerSecurityConfigs.CONFIG_DEF.parse(recipe(0, issuer, "=kafka", "=" + audience));
        var validator = new OAuthBearerValidatorCallbackHandler();
        validator.configure(broker, MECHANISM, jaas());
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

    private static String login(String issuer, String id, String secret) throws Exception {
        var client = new ConfigDef().withClientSaslSupport()
            .parse(recipe(1, issuer, "=ID\n", "=" + id + "\n", "=SECRET\n", "=" + secret + "\n"));
        var login = new OAuthBearerLoginCallbackHandler();
        login.configure(client, MECHANISM, JaasContext.loadClientContext(client).configurationEntries());
        var answer = new OAuthBearerTokenCallback();
        login.handle(new Callback[] {answer});
        login.close();
        if (answer.token() == null) {
            throw new IllegalStateException(answer.errorCode() + " " + answer.errorDescription());
        }
        return answer.token().value();
    }

    /** A block of docs/resource-servers.md, with the values of this test. */
    private static Properties recipe(int number, String issuer, String... replaced) throws Exception {
        String document = Files.readString(Path.of("docs/resource-servers.md"));
        String block = document.split("\n```properties\n")[number + 1].split("```")[0];
        block = block.replace("https://auth.example", issuer);
        for (int index = 0; index < replaced.length; index += 2) {
            block = block.replace(replaced[index], replaced[index + 1]);
        }
        var properties = new Properties();
        properties.load(new StringReader(block));
        return properties;
    }

    /** What the broker makes of `sasl.jaas.config` of its listener. */
    private static List<AppConfigurationEntry> jaas() {
        String module = OAuthBearerLoginModule.class.getName();
        return List.of(new AppConfigurationEntry(module, LoginModuleControlFlag.REQUIRED, Map.of()));
    }
}
