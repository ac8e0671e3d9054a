//! The list of members in the modelled Redis: `src/store/members.lua` on plain values.

use understudy::election::{Command, Entry, Listed, Outcome, Successor};

use super::redis::Redis;

impl Redis {
    /// What a script does to the members after its own work, and what it returns of them.
    pub fn keep_members(&mut self, command: &Command, outcome: Outcome, clock: u64) -> Vec<Listed> {
        let (entry, prune) = match command {
            Command::Look { entry: None } => return self.listed(clock),
            Command::Look { entry } => (entry, false),
            Command::Begin { entry, .. } | Command::Renew { entry, .. } => (entry, true),
            Command::Release {
                successor: Successor::Youngest,
                ..
            } if outcome == Outcome::Released => return self.listed(clock),
            Command::Release { .. } => return Vec::new(),
        };
        let (Some(entry), Outcome::Looked | Outcome::Begun(_) | Outcome::Renewed) =
            (entry, outcome)
        else {
            return Vec::new();
        };
        if self.refuses.is_some() {
            return Vec::new();
        }
        self.enroll(entry, clock);
        if !prune {
            return Vec::new();
        }
        self.members.retain(|_, text| counts(text, clock));
        self.listed(clock)
    }

    fn enroll(&mut self, entry: &Entry, clock: u64) {
        let Entry { member, lives } = entry;
        self.members.remove(&member.holder);
        if !lives.is_zero() {
            let deadline = clock + lives.as_micros() as u64;
            let text = format!("{deadline} {} {clock}", member.words());
            self.members.insert(member.holder.clone(), text);
        }
    }

    fn listed(&self, clock: u64) -> Vec<Listed> {
        let mut listed: Vec<_> = self.members.iter().collect();
        listed.retain(|(_, text)| counts(text, clock));
        let parse = |(holder, text): (&String, &String)| Listed::parse(holder, text);
        listed.into_iter().filter_map(parse).collect()
    }

    /// The holder id in a release; the releaser is no longer a member.
    pub fn successor(&mut self, holder: &str, successor: &Successor, clock: u64) -> String {
        self.members.remove(holder);
        match successor {
            Successor::Anyone => String::new(),
            Successor::Named(holder) => holder.clone(),
            Successor::Youngest => {
                let ready = self.listed(clock).into_iter().map(|it| it.member);
                let youngest = ready
                    .filter(|it| it.ready)
                    .max_by(|a, b| (a.started, &a.holder).cmp(&(b.started, &b.holder)));
                youngest.map_or_else(String::new, |it| it.holder)
            }
        }
    }
}

fn counts(text: &str, clock: u64) -> bool {
    let deadline = text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
    deadline.is_some_and(|it| it > clock)
}
