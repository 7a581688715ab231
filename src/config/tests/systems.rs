//! Configurations written for other programs.

use super::*;

#[test]
fn the_configuration_blocks_of_other_servers_work_unchanged() {
    let cases = [
        (
            r#"
PROXMOX_API_URL="https://proxmox.example.com:8006"
PROXMOX_TOKEN_ID="root@pam!mcp-proxmox"
PROXMOX_TOKEN_SECRET="<secret>"
PROXMOX_VERIFY="true"
PROXMOX_DEFAULT_NODE="pve"
PROXMOX_DEFAULT_STORAGE="local-lvm"
PROXMOX_DEFAULT_BRIDGE="vmbr0"
"#,
            "https://proxmox.example.com:8006 | token root@pam!mcp-proxmox <secret> | System",
        ),
        (
            r"
# URL de votre Proxmox (ex: https://192.168.1.10:8006)
PROXMOX_URL=https://192.168.1.10:8006

# Authentification via Token (recommandé)
PROXMOX_USER=root@pam
# ID du token (ex: mcp-token)
PROXMOX_TOKEN_ID=votre_token_id
PROXMOX_TOKEN_SECRET=votre_token_secret

# 'true' pour vérifier le certificat (prod), 'false' pour ignorer (self-signed)
PROXMOX_VERIFY_SSL=false
",
            "https://192.168.1.10:8006 | token root@pam!votre_token_id votre_token_secret | Insecure",
        ),
        (
            r"
PROXMOX_HOST=tu-servidor-proxmox.com
PROXMOX_PORT=8006
PROXMOX_AUTH_METHOD=token
PROXMOX_TOKEN=user@pam!tokenid=tu-token-aqui
PROXMOX_REJECT_UNAUTHORIZED=false
",
            "https://tu-servidor-proxmox.com:8006 | token user@pam!tokenid tu-token-aqui | Insecure",
        ),
        (
            r"
PROXMOX_HOST=tu-servidor-proxmox.com
PROXMOX_PORT=8006
PROXMOX_AUTH_METHOD=password
PROXMOX_USERNAME=tu-usuario@pam
PROXMOX_PASSWORD=tu-contraseña
PROXMOX_REJECT_UNAUTHORIZED=true
",
            "https://tu-servidor-proxmox.com:8006 | password tu-usuario@pam tu-contraseña | System",
        ),
    ];
    for (block, expected) in cases {
        assert_eq!(only(dotenv(block)), expected);
        assert_eq!(dotenv(block).unwrap().warnings, Vec::<String>::new(), "{block}");
    }
}

#[test]
fn the_environment_block_of_an_ide_works_unchanged() {
    let config = env(&[
        ("PROXMOX_HOST", "https://192.168.50.11:8006"),
        ("PROXMOX_USER", "root@pam"),
        ("PROXMOX_TOKEN_ID", "root@pam!antigravity"),
        ("PROXMOX_TOKEN_SECRET", "5f4dcc3b-5aa0-4444-9090-e245645666"),
        ("VERIFY_SSL", "false"),
    ]);
    let expected =
        "https://192.168.50.11:8006 | token root@pam!antigravity 5f4dcc3b-5aa0-4444-9090-e245645666 | Insecure";
    assert_eq!(only(config), expected);
}

#[test]
fn several_clusters_of_the_reference_work_unchanged() {
    let config = dotenv(
        r#"
PROXMOX_CLUSTERS=prod,lab-1
PROXMOX_CLUSTER_prod_API_URL="https://prod:8006"
PROXMOX_CLUSTER_prod_TOKEN_ID="mcp@pve!a"
PROXMOX_CLUSTER_prod_TOKEN_SECRET="one"
PROXMOX_CLUSTER_prod_VERIFY="true"
PROXMOX_CLUSTER_prod_DEFAULT_NODE="pve1"
PROXMOX_CLUSTER_prod_REGION="eu"
PROXMOX_CLUSTER_prod_TIER="gold"
PROXMOX_CLUSTER_LAB_1_API_URL="https://lab:8006"
PROXMOX_CLUSTER_LAB_1_TOKEN_ID="mcp@pve!b"
PROXMOX_CLUSTER_LAB_1_TOKEN_SECRET="two"
PROXMOX_CLUSTER_LAB_1_VERIFY="false"
PROXMOX_CLUSTER_PATTERNS=prod-:prod
PROXMOX_CLUSTER_VALIDATION=true
PROXMOX_CLUSTER_CACHE_TTL=3600
"#,
    )
    .unwrap();
    let all: Vec<String> = config.clusters.iter().map(shown).collect();
    assert_eq!(
        all,
        ["https://prod:8006 | token mcp@pve!a one | System", "https://lab:8006 | token mcp@pve!b two | Insecure"]
    );
    assert_eq!(config.clusters[0].name, "prod");
    assert_eq!(config.clusters[0].default_node.as_deref(), Some("pve1"));
    assert_eq!(config.clusters[1].default_node, None);
    let no_effect = config.warnings.iter().filter(|warning| warning.contains("has no effect here")).count();
    assert_eq!((no_effect, config.warnings.len()), (5, 5), "{:?}", config.warnings);
}

#[test]
fn every_spelling_of_a_token_is_the_same_token() {
    let spellings: &[Pairs<'_>] = &[
        &[("PROXMOX_TOKEN_ID", "mcp@pve!x"), ("PROXMOX_TOKEN_SECRET", "s")],
        &[("PROXMOX_TOKEN_ID", "mcp@pve!x"), ("PROXMOX_TOKEN_VALUE", "s")],
        &[("PROXMOX_TOKEN_NAME", "x"), ("PROXMOX_USER", "mcp@pve"), ("PROXMOX_TOKEN_VALUE", " s ")],
        &[("PROXMOX_TOKEN_ID", "x"), ("PROXMOX_USERNAME", "mcp@pve"), ("PROXMOX_TOKEN_SECRET", "s")],
        &[("PROXMOX_USER", "mcp@pve!x"), ("PROXMOX_TOKEN_SECRET", "s")],
        &[("PROXMOX_TOKEN", "mcp@pve!x=s")],
        &[("PROXMOX_API_TOKEN", "PVEAPIToken=mcp@pve!x=s")],
        &[("PROXMOX_TOKEN_FILE", "/run/token")],
        &[("PROXMOX_TOKEN_ID", "mcp@pve!x"), ("PROXMOX_TOKEN_SECRET_FILE", "/run/secret")],
        &[("PROXMOX_TOKEN_ID", "mcp@pve!x"), ("PROXMOX_TOKEN_VALUE_FILE", "~/secret"), ("HOME", "/home/u")],
        // Only complete credentials count.
        &[("PROXMOX_TOKEN", "mcp@pve!x=s"), ("PROXMOX_TOKEN_SECRET", "of nothing")],
        &[("PROXMOX_TOKEN", "mcp@pve!x=s"), ("PROXMOX_USER", "other@pve"), ("PROXMOX_PASSWORD", "p")],
    ];
    for spelling in spellings {
        let env: Vec<_> = spelling.iter().copied().chain([URL]).collect();
        let files = [("/run/secret", "s\r\n"), ("/home/u/secret", "s"), ("/run/token", "mcp@pve!x=s\n")];
        let config = Given { env: &env, files: &files, ..Given::default() }.resolve();
        assert_eq!(only(config), "https://pve:8006 | token mcp@pve!x s | System", "{spelling:?}");
    }
}
