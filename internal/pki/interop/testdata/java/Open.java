import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.Provider;
import java.security.Security;
import java.security.cert.Certificate;
import java.util.Base64;
import java.util.Collections;

/** Opens files with a KeyStore of SUN or BC. See batch in consumer_test.go. */
public class Open {
    public static void main(String[] args) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12", provider(args[0]));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] fields = line.split("\t", 2);
            String password = new String(Base64.getDecoder().decode(fields[0]), StandardCharsets.UTF_8);
            try {
                System.out.println(open(store, fields[1], password.toCharArray()));
            } catch (Exception e) {
                System.out.println("refused\t" + String.valueOf(e.getMessage()).replaceAll("\\s+", " "));
            }
        }
    }

    static Provider provider(String name) throws Exception {
        if (name.equals("BC")) {
            Security.addProvider((Provider) Class.forName("org.bouncycastle.jce.provider.BouncyCastleProvider")
                .getConstructor().newInstance());
            return Security.getProvider("BC");
        }
        return KeyStore.getInstance("PKCS12").getProvider();
    }

    static String open(KeyStore store, String path, char[] password) throws Exception {
        try (InputStream file = new FileInputStream(path)) {
            store.load(file, password);
        }
        for (String alias : Collections.list(store.aliases())) {
            if (!store.isKeyEntry(alias)) {
                continue;
            }
            Base64.Encoder base64 = Base64.getEncoder();
            StringBuilder line = new StringBuilder("opened\t");
            line.append(base64.encodeToString(store.getKey(alias, password).getEncoded()));
            for (Certificate c : store.getCertificateChain(alias)) {
                line.append('\t').append(base64.encodeToString(c.getEncoded()));
            }
            return line.toString();
        }
        return "refused\tno key entry in " + store.size() + " entries";
    }
}
