import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.Key;
import java.security.KeyStore;
import java.security.Provider;
import java.security.Security;
import java.security.cert.Certificate;

/**
 * Writes a file with each kind of PKCS#12 KeyStore that BC has. Arguments: a PFX file with one entry, a folder, the
 * password of all.
 */
public class Write {
    public static void main(String[] args) throws Exception {
        char[] password = args[2].toCharArray();
        KeyStore from = KeyStore.getInstance("PKCS12");
        try (InputStream file = new FileInputStream(args[0])) {
            from.load(file, password);
        }
        String alias = from.aliases().nextElement();
        Key key = from.getKey(alias, password);
        Certificate[] chain = from.getCertificateChain(alias);
        Provider provider = (Provider) Class.forName("org.bouncycastle.jce.provider.BouncyCastleProvider")
            .getConstructor().newInstance();
        Security.addProvider(provider);
        for (Provider.Service service : provider.getServices()) {
            if (!service.getType().equals("KeyStore") || !service.getAlgorithm().startsWith("PKCS12")) {
                continue;
            }
            KeyStore store = KeyStore.getInstance(service.getAlgorithm(), provider);
            store.load(null, null);
            store.setKeyEntry("from bc", key, null, chain);
            try (OutputStream file = new FileOutputStream(args[1] + "/" + service.getAlgorithm() + ".pfx")) {
                store.store(file, password);
            }
        }
    }
}
