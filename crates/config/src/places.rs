//! A configuration without the places it was written at.

use crate::model::*;

impl Config {
    /// Forgets where everything was written. What is left of two configurations is equal when
    /// they mean the same, which is what a reload asks to find out what it can keep. Errors can
    /// no longer be given their place.
    #[must_use]
    pub fn without_places(mut self) -> Self {
        forget(self.access_log.span.as_mut());
        forget(self.admin.as_mut().map(|admin| &mut admin.span));
        self.sites.iter_mut().for_each(Site::forget_places);
        self.upstreams.iter_mut().for_each(Upstream::forget_places);
        forget(self.state.as_mut().map(|folder| &mut folder.span));
        forget(self.geoip.iter_mut().map(|file| &mut file.span));
        self.dns = self.dns.without_places();
        forget(self.cache.span.as_mut());
        forget(self.cache.disk.as_mut().map(|disk| &mut disk.path.span));
        self.users.iter_mut().for_each(UserSet::forget_places);
        self.exits.iter_mut().for_each(ExitPool::forget_places);
        for forward in &mut self.forwards {
            forget([&mut forward.span]);
            forward.tls.iter_mut().for_each(SiteTls::forget_places);
            forward.cache.iter_mut().for_each(CacheRules::forget_places);
            forward.rules.iter_mut().for_each(TargetRule::forget_places);
            forget_targets(forward.pac.iter_mut().flat_map(|pac| &mut pac.direct));
            forward.intercept.iter_mut().for_each(Intercept::forget_places);
        }
        for tunnel in &mut self.tunnels {
            forget([&mut tunnel.span]);
            tunnel.tls.iter_mut().for_each(SiteTls::forget_places);
        }
        self
    }
}

impl Dns {
    /// The same without the places, as [`Config::without_places`].
    #[must_use]
    pub fn without_places(mut self) -> Self {
        for server in &mut self.servers {
            forget([&mut server.span]);
            forget(server.ca.as_mut().map(|file| &mut file.span));
        }
        forget(self.hosts.iter_mut().map(|entry| &mut entry.span));
        self
    }
}

impl UserSet {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        forget(self.files.iter_mut().chain(&mut self.databases).map(|file| &mut file.span));
        forget(self.callout.as_mut().map(|callout| &mut callout.span));
        self.defaults.rules.iter_mut().for_each(TargetRule::forget_places);
        for user in &mut self.users {
            forget([&mut user.span]);
            user.limits.rules.iter_mut().for_each(TargetRule::forget_places);
        }
    }
}

impl ExitPool {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        forget(self.health.as_mut().map(|health| &mut health.span));
        forget(self.bans.iter_mut().map(|rule| &mut rule.span));
        for exit in &mut self.exits {
            forget([&mut exit.span]);
            if let ExitKind::List { source, .. } = &mut exit.kind {
                forget([&mut source.span]);
            }
        }
    }
}

impl TargetRule {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        forget_targets(&mut self.targets);
        forget(self.context.agents.iter_mut().map(|regex| &mut regex.span));
    }
}

fn forget_targets<'a>(targets: impl IntoIterator<Item = &'a mut TargetPattern>) {
    forget(targets.into_iter().filter_map(|target| match target {
        TargetPattern::List(list) => Some(&mut list.span),
        TargetPattern::Regex(regex) => Some(&mut regex.span),
        _ => None,
    }));
}

impl Intercept {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        self.authority.iter_mut().for_each(CertificateFiles::forget_places);
        forget_targets(self.hosts.iter_mut().chain(&mut self.except));
        forget(self.trust.iter_mut().map(|file| &mut file.span));
    }
}

impl Site {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        self.tls.iter_mut().for_each(SiteTls::forget_places);
        self.gate.forget_places();
        forget_pages(&mut self.error_pages);
        for route in &mut self.routes {
            forget([&mut route.span]);
            route.gate.forget_places();
            route.cache.iter_mut().for_each(CacheRules::forget_places);
            forget(route.compress.as_mut().map(|compress| &mut compress.span));
            forget(route.decompress.as_mut().map(|decompress| &mut decompress.span));
            forget_pages(&mut route.error_pages);
        }
    }
}

impl CacheRules {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        forget(self.purge_token.as_mut().map(|token| &mut token.span));
    }
}

impl Gate {
    fn forget_places(&mut self) {
        forget(self.rates.iter_mut().map(|rate| &mut rate.span));
        forget(self.basic.as_mut().map(|basic| &mut basic.span));
        forget(self.forward_auth.as_mut().map(|auth| &mut auth.span));
    }
}

impl SiteTls {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        self.certificates.iter_mut().for_each(CertificateFiles::forget_places);
        if let ClientAuth::Optional { ca } | ClientAuth::Required { ca } = &mut self.client_auth {
            forget([&mut ca.span]);
        }
    }
}

impl CertificateFiles {
    fn forget_places(&mut self) {
        forget([&mut self.cert.span, &mut self.key.span]);
    }
}

impl Upstream {
    fn forget_places(&mut self) {
        forget([&mut self.span]);
        forget(self.servers.iter_mut().map(|server| &mut server.span));
        forget(self.tls.ca.as_mut().map(|ca| &mut ca.span));
        self.tls.client.iter_mut().for_each(CertificateFiles::forget_places);
        forget(self.health.as_mut().map(|health| &mut health.span));
        forget(self.retry.span.as_mut());
    }
}

fn forget_pages(pages: &mut [ErrorPage]) {
    forget(pages.iter_mut().filter_map(|page| match &mut page.body {
        PageBody::File(file) => Some(&mut file.span),
        PageBody::Text(_) => None,
    }));
}

fn forget<'a>(spans: impl IntoIterator<Item = &'a mut Span>) {
    for span in spans {
        *span = Span::from((0, 0));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Moves everything, and looks for what still tells it.
    #[test]
    fn no_place_is_left() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "kdl") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let parse = |text: &str| crate::parse("test", text, Path::new("")).unwrap();
            let (here, moved) = (parse(&text), parse(&format!("// moved\n{text}")));
            assert_ne!(here, moved, "{}", path.display());
            assert_eq!(here.without_places(), moved.without_places(), "{}", path.display());
            seen += 1;
        }
        assert!(seen > 2, "{seen} files");
    }
}
